-- key_hash: HMAC-SHA-256 of the licence key in hex; the key itself is nowhere. expires_at_ms empty: perpetual.
-- sk … status1_text: empty means the product's value.
CREATE TABLE IF NOT EXISTS kunci_licences (
  id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  product_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  key_hash VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  key_pepper_id VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  customer VARCHAR(255) NOT NULL,
  state VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  state_reason VARCHAR(255),
  expires_at_ms BIGINT,
  sk VARCHAR(1024),
  sck VARCHAR(1024),
  maintenance VARCHAR(255),
  status1_text VARCHAR(1024),
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (key_hash)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_licences_product ON kunci_licences (product_id, created_at_ms);
