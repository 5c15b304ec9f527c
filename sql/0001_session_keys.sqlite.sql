-- The same seven columns on SQLite. Both times are UTC text, YYYY-MM-DD HH:MM:SS.
CREATE TABLE IF NOT EXISTS session_keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id VARCHAR(64) NOT NULL UNIQUE,
  session_key VARCHAR(128) NOT NULL,
  session_iv VARCHAR(64) NOT NULL,
  client_ip VARCHAR(45) NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  expires_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_expires ON session_keys (expires_at);
