-- Removes session keys and their messages a minute after they expired, in batches of 5,000, until none is left or 30 seconds have passed.
-- In phpMyAdmin set the delimiter below the text box to // before you run it.
CREATE EVENT cleanup_expired_sessions
ON SCHEDULE EVERY 1 MINUTE
ON COMPLETION PRESERVE
DO BEGIN
  DECLARE started TIMESTAMP DEFAULT NOW();
  DECLARE removed INT DEFAULT 1;
  WHILE removed > 0 AND NOW() < started + INTERVAL 30 SECOND DO
    DELETE FROM session_keys WHERE expires_at < NOW() - INTERVAL 60 SECOND LIMIT 5000;
    SET removed = ROW_COUNT();
  END WHILE;
  SET removed = 1;
  WHILE removed > 0 AND NOW() < started + INTERVAL 30 SECOND DO
    DELETE FROM kunci_session_messages WHERE expires_at_ms < (UNIX_TIMESTAMP() - 60) * 1000 LIMIT 5000;
    SET removed = ROW_COUNT();
  END WHILE;
  SET removed = 1;
  WHILE removed > 0 AND NOW() < started + INTERVAL 30 SECOND DO
    DELETE FROM kunci_session_failures WHERE expires_at_ms < (UNIX_TIMESTAMP() - 60) * 1000 LIMIT 5000;
    SET removed = ROW_COUNT();
  END WHILE;
END
