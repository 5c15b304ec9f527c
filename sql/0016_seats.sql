-- Who runs at this moment under a licence that counts them: a row for each device that holds a seat. UNIQUE (licence_id,
-- seat_no) decides races, on a cluster too. seat_no is empty once another device has taken the seat and this one has not
-- been told. session_id: the session that renewed it last. yield_by_ms: it was asked to make way, and is free from then
-- on unless its holder keeps it.
CREATE TABLE IF NOT EXISTS kunci_seats (
  licence_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  device_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  seat_no INT,
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  taken_at_ms BIGINT NOT NULL,
  renewed_at_ms BIGINT NOT NULL,
  yield_by_ms BIGINT,
  PRIMARY KEY (licence_id, device_id),
  UNIQUE (licence_id, seat_no)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_seats_session ON kunci_seats (session_id);
-- On how many machines it may run at once; empty: that is not counted.
ALTER TABLE kunci_licences ADD COLUMN seats INT;
-- What becomes of one more: kick, refuse or ask.
ALTER TABLE kunci_products ADD COLUMN at_seat_limit VARCHAR(8) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL DEFAULT 'refuse';
