-- What was decided and what operators did. The id begins with its time, so ids sort as events happened.
-- A refusal before anyone is known is one row per cause, address and minute, and count says how often.
CREATE TABLE IF NOT EXISTS kunci_events (
  id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  at_ms BIGINT NOT NULL,
  type VARCHAR(48) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  actor VARCHAR(64) NOT NULL,
  address VARCHAR(45) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  product_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  licence_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  device_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  support_code VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  count INT NOT NULL,
  detail VARCHAR(2048) NOT NULL,
  PRIMARY KEY (id)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_events_type ON kunci_events (type, id);
CREATE INDEX kunci_events_support_code ON kunci_events (support_code);
CREATE INDEX kunci_events_licence ON kunci_events (licence_id, id);
