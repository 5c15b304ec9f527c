-- Operators' tokens, kept as SHA-256 in hex: they are 256 random bits, so no slow hash is needed.
CREATE TABLE IF NOT EXISTS kunci_tokens (
  id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  name VARCHAR(64) NOT NULL,
  token_hash VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT,
  revoked_at_ms BIGINT,
  PRIMARY KEY (id),
  UNIQUE (token_hash)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
