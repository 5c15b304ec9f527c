-- A message that a client logs has up to 2,048 characters, each of which JSON may write as six. SQLite heeds no lengths.
ALTER TABLE kunci_events MODIFY detail VARCHAR(13000) NOT NULL;
