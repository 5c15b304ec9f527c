-- The messages of a sealed session: each number is claimed once, by the primary key. request_hash is base64url of 32
-- bytes; reply is what a retry with the same bytes gets again, as it was sent: salt and box, base64url, with a dot between.
CREATE TABLE IF NOT EXISTS kunci_session_messages (
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  seq INT NOT NULL,
  request_hash VARCHAR(43) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  reply VARCHAR(44000) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (session_id, seq)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_session_messages_expiry ON kunci_session_messages (expires_at_ms);
-- What an operation with an effect answered, by the nonce that a client keeps when it tries again in another session.
-- scope is the licence's id, or log for what belongs to none.
CREATE TABLE IF NOT EXISTS kunci_idempotency (
  scope VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  nonce VARCHAR(22) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  op VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  result VARCHAR(8192) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (scope, nonce)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_idempotency_created ON kunci_idempotency (created_at_ms);
-- The newest lease of each device. seq grows by one with each; basis is a hash of all that is in it but its times.
CREATE TABLE IF NOT EXISTS kunci_leases (
  device_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  seq INT NOT NULL,
  basis VARCHAR(43) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  lease VARCHAR(8192) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  issued_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (device_id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
