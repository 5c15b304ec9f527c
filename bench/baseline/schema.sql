-- The two tables of the old PHP server, with the indexes that its two look-ups want.
CREATE TABLE session_keys (
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

-- hwid_encrypted: SHA-256 in hex of the hardware id stripped to letters and digits.
CREATE TABLE user_jce (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  Nama VARCHAR(255) NOT NULL,
  hwid_encrypted CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  expiry_date DATETIME NOT NULL,
  sk VARCHAR(255) NOT NULL,
  sck VARCHAR(255) NOT NULL,
  maintenance VARCHAR(255) NOT NULL DEFAULT 'no',
  status1_text VARCHAR(255) NOT NULL DEFAULT '',
  counter INT NOT NULL DEFAULT 0,
  last_login DATETIME,
  PRIMARY KEY (id),
  UNIQUE KEY hwid_encrypted (hwid_encrypted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
