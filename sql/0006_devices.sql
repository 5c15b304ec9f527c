-- A machine known under a licence. slot_no is empty once the device is released; 0 is the binding of the old contract,
-- 1 and up are device slots. UNIQUE (licence_id, slot_no) decides races, on a cluster too.
CREATE TABLE IF NOT EXISTS kunci_devices (
  id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  licence_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  slot_no INT,
  created_at_ms BIGINT NOT NULL,
  last_seen_ms BIGINT,
  released_at_ms BIGINT,
  PRIMARY KEY (id),
  UNIQUE (licence_id, slot_no)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
-- h: HMAC of the component's digest under the pepper, 16 bytes in hex. Nothing raw is kept.
CREATE TABLE IF NOT EXISTS kunci_device_components (
  device_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  type VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  h VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  pepper_id VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  first_seen_ms BIGINT NOT NULL,
  PRIMARY KEY (device_id, type, h)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_device_components_h ON kunci_device_components (h);
