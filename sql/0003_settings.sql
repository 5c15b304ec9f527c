-- Facts about this database that every node must agree on, such as the check values of its keys.
CREATE TABLE IF NOT EXISTS kunci_settings (
  name VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  value VARCHAR(1024) NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
