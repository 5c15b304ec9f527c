-- Addresses that guessed too often. A block never refuses a machine that is enrolled.
CREATE TABLE IF NOT EXISTS kunci_blocks (
  address VARCHAR(45) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  until_ms BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (address)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
