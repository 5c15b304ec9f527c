-- People who sign in. email is kept as it is compared, in NFKC and lower case. password_hash is Argon2id in PHC form; empty:
-- nobody gets in until a password is set. totp_secret is wrapped; totp_step is the last time step whose code was taken.
-- max_sessions and at_limit: empty means what the role says. logins is written by every sign-in, so that those of one user
-- take turns, on a cluster too.
CREATE TABLE IF NOT EXISTS kunci_users (
  id BIGINT NOT NULL,
  email VARCHAR(254) NOT NULL,
  full_name VARCHAR(255) NOT NULL,
  role VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  is_active INT NOT NULL,
  password_hash VARCHAR(255) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  totp_secret VARCHAR(255) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  totp_step BIGINT,
  max_sessions INT,
  at_limit VARCHAR(8) /*! CHARACTER SET ascii COLLATE ascii_bin */,
  logins INT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (email)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
-- What a user signs in with when the device that shows codes is lost: each once. SHA-256 in hex of 80 random bits.
CREATE TABLE IF NOT EXISTS kunci_recovery_codes (
  user_id BIGINT NOT NULL,
  code_hash VARCHAR(64) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  used_at_ms BIGINT,
  PRIMARY KEY (user_id, code_hash)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
-- How many sessions a user of a role may have at once, and what becomes of one more: kick, refuse or ask.
CREATE TABLE IF NOT EXISTS kunci_session_policies (
  role VARCHAR(16) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  max_sessions INT,
  at_limit VARCHAR(8) /*! CHARACTER SET ascii COLLATE ascii_bin */ NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (role)
) /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */;
