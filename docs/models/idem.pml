/* A request that is sent again, to two nodes over one table whose PRIMARY KEY is (session_id, seq).
   -DTX  : the row is claimed, the effect made and the reply stored in one transaction: the design.
   else  : naive: look, act when there is nothing, write the row afterwards.
   Properties: at most one effect; every reply that the client accepts is the same; another body under a used seq is
   never executed together with the first. A node may die at any point, and a reply may be lost. */
#define NONE 0
byte row = NONE;          /* committed row: 0 none, else stored reply id */
byte rowhash = 0;         /* committed req hash */
bool lock = false;        /* lock of the record (session_id, seq) held by an open transaction */
byte effects = 0;         /* committed effects of body 1 */
byte effects2 = 0;        /* committed effects of the conflicting body 2 */
byte nextreply = 1;
chan req = [4] of { byte };      /* body hash; copies = retries and attacker replays */
chan rep = [4] of { byte };      /* reply id */
byte got = NONE;

active [2] proctype node() {
  byte h, r;
end:  do
  :: req ? h ->
#ifdef TX
     atomic { !lock -> lock = true };            /* INSERT claims the key, or waits for the holder */
     if
     :: row != NONE ->                          /* duplicate key */
        r = (rowhash == h -> row : 0); lock = false;
        if :: r != 0 -> if :: rep ! r :: skip fi :: else -> skip /* seq_conflict, not executed */ fi
     :: else ->
        if
        :: lock = false                         /* crash or rollback before commit: nothing remains */
        :: atomic { r = nextreply; nextreply++; if :: h == 1 -> effects++ :: else -> effects2++ fi; row = r; rowhash = h; lock = false };  /* COMMIT */
           if :: rep ! r :: skip /* reply lost */ fi
        fi
     fi
#else
     if
     :: row != NONE -> r = (rowhash == h -> row : 0); if :: r != 0 -> rep ! r :: else -> skip fi
     :: else -> 
        atomic { r = nextreply; nextreply++; if :: h == 1 -> effects++ :: else -> effects2++ fi };
        if :: skip /* crash after the effect */ :: row = r; rowhash = h; if :: rep ! r :: skip fi fi
     fi
#endif
  od
}
active proctype client() {
  byte tries = 0, r;
  req ! 1;
  do
  :: rep ? r -> assert(got == NONE || got == r); got = r
  :: tries < 2 -> tries++; req ! 1               /* timeout: the same bytes again */
  :: tries == 2 -> break
  od;
end: do :: rep ? r -> assert(got == NONE || got == r); got = r od
}
active proctype attacker() { if :: req ! 1 :: req ! 2 :: skip fi; if :: req ! 2 :: skip fi }   /* replay, or same seq with another body */
active proctype monitor() { end: if :: (effects + effects2 > 1) -> assert(false) fi }
