-- Seven columns, as existing installations and their phpMyAdmin habits know them. session_key is wrapped, session_iv hex.
-- Both times are UTC; both defaults are named, as old servers would otherwise make up their own.
CREATE TABLE IF NOT EXISTS session_keys (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  session_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  session_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  session_iv VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  client_ip VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  expires_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY session_id (session_id),
  KEY idx_expires (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
