-- How often a session key failed to open what was posted: the seven columns of session_keys have no place for it.
CREATE TABLE IF NOT EXISTS kunci_session_failures (
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  failed_opens INT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (session_id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_session_failures_expiry ON kunci_session_failures (expires_at_ms);
