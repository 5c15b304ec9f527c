-- Which events live streams carry, for whom, and in which order. pos is empty until the event was seen to be committed:
-- ids are not in the order of commits, positions are. user_id is whose event it is, session_id which session's.
CREATE TABLE IF NOT EXISTS kunci_stream (
  event_id VARCHAR(32) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  user_id BIGINT NOT NULL,
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  pos BIGINT,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (event_id),
  UNIQUE (pos)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_stream_created ON kunci_stream (created_at_ms);
-- What opens a stream in the place of a token, which must not stand in a URL: SHA-256 in hex. uses counts how often it
-- did: whoever reconnects displaces the stream before.
CREATE TABLE IF NOT EXISTS kunci_stream_tickets (
  ticket_hash VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  user_id BIGINT NOT NULL,
  session_id VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  created_at_ms BIGINT NOT NULL,
  uses INT NOT NULL,
  PRIMARY KEY (ticket_hash)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
CREATE INDEX kunci_stream_tickets_session ON kunci_stream_tickets (session_id);
