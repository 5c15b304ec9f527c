-- What has been applied. finished_at_ms is empty while a migration is under way, or after it was cut off.
CREATE TABLE IF NOT EXISTS kunci_migrations (
  name VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  checksum VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  started_at_ms BIGINT NOT NULL,
  finished_at_ms BIGINT,
  PRIMARY KEY (name)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
