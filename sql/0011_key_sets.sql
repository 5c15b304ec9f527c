-- Sets of public keys that the root key has signed, as compact JWS: clients take one that is newer than theirs.
CREATE TABLE IF NOT EXISTS kunci_key_sets (
  seq INT NOT NULL,
  jws VARCHAR(32768) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  signed_at_ms BIGINT NOT NULL,
  PRIMARY KEY (seq)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
