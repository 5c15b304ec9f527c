-- A desktop tool. The last four texts are what the old programs are told after a good check.
CREATE TABLE IF NOT EXISTS kunci_products (
  id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  code VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  name VARCHAR(128) NOT NULL,
  legacy_enabled INT NOT NULL,
  bind_address INT NOT NULL,
  sk VARCHAR(1024) NOT NULL,
  sck VARCHAR(1024) NOT NULL,
  maintenance VARCHAR(255) NOT NULL,
  status1_text VARCHAR(1024) NOT NULL,
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (code)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
