-- Who is, and was, signed in. The names down to updated_at are those of older trackers; times are epoch milliseconds.
-- session_id names a session in public and opens nothing. ip_address and user_agent are the latest, first_… those of the
-- sign-in. idle_ms: how long it may go unused. yield_by: it was asked to make way, and ends then unless it is kept.
CREATE TABLE IF NOT EXISTS user_sessions (
  id BIGINT NOT NULL,
  user_id BIGINT NOT NULL,
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  ip_address VARCHAR(45) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  user_agent VARCHAR(512) NOT NULL,
  device_type VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  is_active INT NOT NULL,
  last_activity BIGINT NOT NULL,
  login_at BIGINT NOT NULL,
  logout_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  first_ip_address VARCHAR(45) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  first_user_agent VARCHAR(512) NOT NULL,
  device_name VARCHAR(128) NOT NULL,
  country VARCHAR(2) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  idle_ms BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  yield_by BIGINT,
  end_reason VARCHAR(24) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  ended_by VARCHAR(64),
  PRIMARY KEY (id),
  UNIQUE (session_id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX user_sessions_user ON user_sessions (user_id, is_active);
CREATE INDEX user_sessions_active ON user_sessions (is_active, last_activity);
-- What a sign-in that met a full house may come back with, each once, as SHA-256 in hex. kind refuse: it takes over;
-- kind ask: it looks what those who were asked have said. refused_at_ms: one of them keeps its session.
CREATE TABLE IF NOT EXISTS kunci_take_overs (
  token_hash VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  user_id BIGINT NOT NULL,
  kind VARCHAR(8) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  used_at_ms BIGINT,
  refused_at_ms BIGINT,
  PRIMARY KEY (token_hash)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_take_overs_user ON kunci_take_overs (user_id);
CREATE INDEX kunci_take_overs_expiry ON kunci_take_overs (expires_at_ms);
