"""A desktop tool's licence check against a Kunci server: one file, to be read from top to bottom.

It needs Python 3.9 or newer and the package `cryptography` (Debian: apt-get install python3-cryptography).
KID and PUB come from `kunci keys pins` on the server; a real tool asks the system for the serial numbers.

    python3 kunci_client.py --server https://licences.example --suite S1 --pin KID:PUB --tool demo \
        --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX \
        --hw board=PF2ABCDE --hw disk=S4EWNX0M --hw mac=3C:7C:3F:1A:2B:4C

With --lease FILE --lease-key KID:X:Y it keeps the signed lease of the last good check in FILE, and lives on
it while the server is unavailable. The last line it prints is a JSON object with the outcome:

    allowed        exit code 0    the tool may run
    denied         exit code 1    the server, and nobody else, says that it may not
    unavailable    exit code 2    nobody who can be believed has said anything

Wrong usage ends with 64. What it trusts: the keys it is given, and nothing else. Addresses, certificates,
status lines and plain JSON can keep it from an answer; they never are one. What nothing can stop: whoever
owns the machine can change this file. That is worth less where the reply brings what the tool cannot do
without.
"""

import base64
import hashlib
import hmac
import http.client
import json
import math
import os
import queue
import re
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOOL_VERSION = "1.0.0"
TIMEOUT_S = 10
RETRY_WAITS_MS = "1000,3000,9000"
MAX_REPLY_BYTES = 64 * 1024
MAX_BOX_BYTES = 32 * 1024
MAX_LEASE_BYTES = 8 * 1024


class Unavailable(Exception):
    """There is no answer that can be believed."""


class SessionLost(Unavailable):
    """Nor is there one in this session; in a new one there may be."""


# --- Bytes and texts ----------------------------------------------------------------------------------------


def uint(number, size):
    return number.to_bytes(size, "big")


def lp(field):
    """A field behind its length in 2 bytes: no two lists of fields look alike once they are joined."""
    data = field.encode("utf-8") if isinstance(field, str) else field
    return uint(len(data), 2) + data


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key, info, length):
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3)."""
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def to_b64u(data):
    """Base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_b64u(text):
    """Raises ValueError for all but what to_b64u writes: Python's decoder skips what it does not know."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_b64u(data) != text:
        raise ValueError("not base64url")
    return data


def to_json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read_object(data):
    """A JSON object, from UTF-8. Raises ValueError."""
    try:
        value = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    return value


def member(source, name, kind):
    """A member that is there and of this type; `isinstance` would take True for an int. Raises ValueError."""
    value = source.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is missing or not of type {kind.__name__}")
    return value


def expect(source, **values):
    """Raises ValueError where a member is not there with this value."""
    for name, value in values.items():
        if member(source, name, type(value)) != value:
            raise ValueError(f"{name} is not as expected")


# --- The hardware: normal form and digest -------------------------------------------------------------------

# What each component weighs when two machines are compared; an anchor is a number that only one machine has.
WEIGHTS = {"tpm": 4, "board": 3, "bios": 3, "disk": 3, "mac": 2, "osid": 2, "cpu": 1}
ANCHORS = {"tpm", "board", "bios", "disk"}

# What makers leave where a serial number should be, in normal form.
JUNK = set(
    """
    TOBEFILLEDBYOEM DEFAULTSTRING SYSTEMSERIALNUMBER BASEBOARDSERIALNUMBER CHASSISSERIALNUMBER
    SYSTEMMANUFACTURER SYSTEMPRODUCTNAME NOTAPPLICABLE NOTSPECIFIED NOTAVAILABLE NOTDEFINED NOTPRESENT UNKNOWN
    UNDEFINED INVALID NONE NULL EMPTY SERIAL SERIALNUMBER 0123456789 123456789 1234567890 12345678
    0123456789ABCDEF 123456789ABCDEF 03000200040005000006000700080009
    """.split()
)


def normal_form(kind, raw):
    """A serial number as every client writes it, or None where it tells nothing about this machine."""
    text = re.sub("[^A-Z0-9]", "", unicodedata.normalize("NFKC", raw).upper())[:128]
    if len(text) < 4 or len(set(text)) == 1 or text in JUNK:
        return None
    if kind != "mac":
        return text
    # Not the addresses of groups nor those that software made up, told by two bits of the first byte.
    is_address = re.fullmatch("[0-9A-F]{12}", text) is not None
    return text if is_address and int(text[:2], 16) & 0b11 == 0 else None


def hardware_digests(tool, serials):
    """{type: [32 bytes]} of [(type, raw serial)]: serials stay here, and two tools cannot compare digests."""
    forms = {(kind, form) for kind, raw in serials if (form := normal_form(kind, raw))}
    digests = {}
    for kind, form in sorted(forms):
        digests.setdefault(kind, []).append(sha256(lp("dsk1/hwid") + lp(tool) + lp(kind) + lp(form)))
    return digests


def hardware_id(digests):
    """What a request carries, its members in the order of RFC 8785."""
    return {"c": {kind: [to_b64u(digest) for digest in digests[kind]] for kind in sorted(digests)}, "v": 1}


def fingerprint(digests):
    """32 bytes that tell machines apart in a log. They decide nothing."""
    return sha256(lp("dsk1/hwid-fp") + lp(to_json(hardware_id(digests))))


# --- The two suites -----------------------------------------------------------------------------------------


class S1:
    """X25519 (RFC 7748) and AES-256-GCM (RFC 5116)."""

    name, id, pub_bytes, key_bytes, nonce_bytes = "S1", 1, 32, 32, 12

    @staticmethod
    def generate():
        """A key pair for one handshake: the private key, and the public one in bytes."""
        private = X25519PrivateKey.generate()
        return private, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @staticmethod
    def agree(private, pub):
        """The shared secret, 32 bytes. Raises ValueError where it would be zero."""
        return private.exchange(X25519PublicKey.from_public_bytes(pub))

    @staticmethod
    def seal(key, nonce, aad, plaintext):
        return AESGCM(key).encrypt(nonce, plaintext, aad)

    @staticmethod
    def open(key, nonce, aad, box):
        """Raises InvalidTag."""
        return AESGCM(key).decrypt(nonce, box, aad)


class S2:
    """ECDH on P-256 and A256CBC-HS512 (RFC 7518, section 5.2.5)."""

    name, id, pub_bytes, key_bytes, nonce_bytes = "S2", 2, 65, 64, 16

    @staticmethod
    def generate():
        private = ec.generate_private_key(ec.SECP256R1())
        return private, private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @staticmethod
    def agree(private, pub):
        """The X coordinate, 32 bytes. Raises ValueError where `pub` is no uncompressed point of the curve."""
        if len(pub) != S2.pub_bytes:
            raise ValueError("not an uncompressed point")
        return private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), pub))

    @staticmethod
    def tag(key, nonce, aad, ciphertext):
        message = aad + nonce + ciphertext + uint(8 * len(aad), 8)
        return hmac.new(key[:32], message, hashlib.sha512).digest()[:32]

    @staticmethod
    def seal(key, nonce, aad, plaintext):
        padder = PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(nonce)).encryptor()
        ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
        return ciphertext + S2.tag(key, nonce, aad, ciphertext)

    @staticmethod
    def open(key, nonce, aad, box):
        """Raises InvalidTag, before a block is decrypted: nobody is to learn what the padding looks like."""
        ciphertext, tag = box[:-32], box[-32:]
        if not hmac.compare_digest(tag, S2.tag(key, nonce, aad, ciphertext)):
            raise InvalidTag
        decryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(nonce)).decryptor()
        unpadder = PKCS7(128).unpadder()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


SUITES = {"S1": S1, "S2": S2}


# --- The handshake: a session that only the holder of the pinned key can have made --------------------------


@dataclass(frozen=True)
class Pin:
    """A public key of the server that came with the tool, not over the network."""

    kid: str
    pub: bytes


@dataclass(frozen=True)
class Session:
    suite: type
    id: str
    key: bytes
    iv: bytes
    token: str

    def derive(self, label):
        return expand(self.key, lp(label) + uint(self.suite.id, 1) + lp(self.id), 32)

    def nonce(self, seq):
        return uint(int.from_bytes(self.iv, "big") ^ seq, self.suite.nonce_bytes)


def transcript_hash(suite, pin, client_pub, session_id, expires_in, server_pub):
    """Over all that both sides know and said: who differs in one bit of it gets other keys."""
    known = uint(suite.id, 1) + lp(pin.kid) + lp(pin.pub)
    said = lp(client_pub) + lp("") + lp(session_id) + uint(expires_in, 4) + lp(server_pub)
    return sha256(lp("dsk1/th") + known + said)


def chain_secrets(static_secret, fresh_secret):
    """The first secret proves the server; the second keeps the session when that key is stolen later."""
    prk1 = hmac256(b"dsk1/kex", static_secret)
    return prk1, hmac256(prk1, fresh_secret)


def session_keys(suite, prk2, th):
    """The key of the hello box, the session key of 32 bytes, and the IV."""
    hello_key = expand(prk2, lp("dsk1/hello") + th, suite.key_bytes)
    session_key = expand(prk2, lp("dsk1/session_key") + th, 32)
    return hello_key, session_key, expand(prk2, lp("dsk1/session_iv") + th, suite.nonce_bytes)


def hello_request(suite, pin, client_pub):
    hello = {"v": 1, "suite": suite.name, "kid": pin.kid, "pub": to_b64u(client_pub), "ext": ""}
    return to_json(hello).encode("ascii")


def open_hello(suite, pin, private, client_pub, reply):
    """The session in the reply. Raises ValueError or InvalidTag: then nothing of it can be believed."""
    expect(reply, v=1, suite=suite.name, kid=pin.kid)
    session_id = member(reply, "session_id", str)
    expires_in = member(reply, "expires_in", int)
    if not re.fullmatch("[0-9a-f]{64}", session_id) or not 1 <= expires_in <= 86400:
        raise ValueError("the reply is malformed")
    server_pub = from_b64u(member(reply, "pub", str))
    _, prk2 = chain_secrets(suite.agree(private, pin.pub), suite.agree(private, server_pub))
    th = transcript_hash(suite, pin, client_pub, session_id, expires_in, server_pub)
    hello_key, key, iv = session_keys(suite, prk2, th)
    box = from_b64u(member(reply, "box", str))
    hello = read_object(suite.open(hello_key, bytes(suite.nonce_bytes), lp("dsk1/hello") + th, box))
    return Session(suite, session_id, key, iv, member(hello, "token", str))


def read_token(session):
    """The claims of the token. The box it came in has proved it; its signature is for the server."""
    _, payload, _ = session.token.split(".")
    claims = read_object(from_b64u(payload))
    expect(claims, sid=session.id)
    return claims


# --- The record: a request, and the one reply that belongs to it --------------------------------------------


@dataclass(frozen=True)
class SealedRequest:
    seq: int
    op: str
    body: bytes
    hash: bytes


def padded(text):
    """With spaces behind it up to a multiple of 256 bytes, so that its length tells little."""
    return text + b" " * (-len(text) % 256)


def associated_data(label, session, seq, op, digest):
    """What a box is bound to without holding it."""
    return lp(label) + uint(session.suite.id, 1) + lp(session.id) + uint(seq, 8) + lp(op) + lp(digest)


def seal_request(session, seq, op, plaintext, salt):
    """`salt`: 16 random bytes. A `seq` serves for one plaintext and never for another."""
    aad = associated_data("dsk1/req", session, seq, op, sha256(session.token.encode("ascii")))
    info = lp("dsk1/mk") + uint(seq, 8) + lp(salt)
    key = expand(session.derive("dsk1/c2s"), info, session.suite.key_bytes)
    box = session.suite.seal(key, session.nonce(seq), aad, plaintext)
    body = {"v": 1, "session_id": session.id, "seq": seq, "op": op}
    body |= {"salt": to_b64u(salt), "box": to_b64u(box)}
    digest = sha256(lp("dsk1/rh") + lp(aad) + lp(salt) + lp(box))
    return SealedRequest(seq, op, to_json(body).encode("ascii"), digest)


def open_reply(session, request, reply):
    """What the server answered to this request and to no other. Raises ValueError or InvalidTag."""
    expect(reply, v=1, session_id=session.id, seq=request.seq)
    salt, box = (from_b64u(member(reply, name, str)) for name in ("salt", "box"))
    if len(salt) != 16 or len(box) > MAX_BOX_BYTES:
        raise ValueError("the reply is malformed")
    info = lp("dsk1/mk") + uint(request.seq, 8) + lp(salt) + lp(request.hash)
    key = expand(session.derive("dsk1/s2c"), info, session.suite.key_bytes)
    aad = associated_data("dsk1/res", session, request.seq, request.op, request.hash)
    return session.suite.open(key, session.nonce(request.seq), aad, box)


# --- The way there and back ---------------------------------------------------------------------------------


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


HTTP = urllib.request.build_opener(NoRedirect)


def post(url, body, token):
    """One request: (status, at most MAX_REPLY_BYTES + 1 bytes). Raises OSError or HTTPException."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = HTTP.open(urllib.request.Request(url, body, headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        data = answer.read(MAX_REPLY_BYTES + 1)
        if answer.length and len(data) <= MAX_REPLY_BYTES:
            raise ConnectionError("the reply broke off")
        return answer.status, data


def within(seconds, work):
    """What `work` returns or raises, or TimeoutError. (A socket's time-out begins anew with every byte.)"""
    outcome = queue.SimpleQueue()

    def run():
        try:
            outcome.put((work(), None))
        except Exception as error:
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no reply within {seconds} s") from None
    if error:
        raise error
    return result


def send(url, body, token=None):
    """(status, reply). Sends the same bytes again until there is a reply. Raises SessionLost."""
    waits = os.environ.get("KUNCI_RETRY_MS", RETRY_WAITS_MS).split(",")
    for wait in [*(int(wait) / 1000 for wait in waits if wait), None]:
        try:
            status, reply = within(TIMEOUT_S, lambda: post(url, body, token))
            if len(reply) > MAX_REPLY_BYTES:
                raise Unavailable("the reply is too long")
            if status != 503:
                return status, reply
            problem = "the server is busy"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        if wait is not None:
            say(f"Trying again in {wait:g} s: {problem}")
            time.sleep(wait)
    raise SessionLost(problem)


# --- The check ----------------------------------------------------------------------------------------------


def shake_hands(server, suite, pins):
    """A session under the first pinned key that the server has. Raises Unavailable."""
    for pin in pins:
        private, client_pub = suite.generate()
        status, body = send(f"{server}/v1/session", hello_request(suite, pin, client_pub))
        try:
            reply = read_object(body)
            if status == 400 and reply.get("error") == "kex":
                # Anybody can say this. It leads to another pinned key, and nowhere else.
                say(f"The server does not know the key {pin.kid}")
                continue
            if status != 200:
                raise Unavailable(f"no session, HTTP {status}")
            session = open_hello(suite, pin, private, client_pub, reply)
            say("Session key obtained")
            read_token(session)
            say("JWT token parsed")
            return session
        except (InvalidTag, ValueError):
            raise Unavailable("whoever answered does not have the pinned key") from None
    raise Unavailable("the server has none of the pinned keys")


def call(server, session, seq, op, plaintext):
    """The opened reply to one operation. Raises SessionLost or Unavailable."""
    request = seal_request(session, seq, op, plaintext, os.urandom(16))
    status, body = send(f"{server}/v1/call", request.body, session.token)
    if status == 401:
        raise SessionLost("the session is not known any more")
    if status != 200:
        raise Unavailable(f"no sealed reply, HTTP {status}")
    try:
        reply = read_object(open_reply(session, request, read_object(body)))
    except (InvalidTag, ValueError):
        raise Unavailable("the reply is not the server's") from None
    if reply.get("code") == "session_expired":
        raise SessionLost("the session has expired")
    return reply


def check_licence(server, suite, pins, data):
    """The opened reply to a check, in a second session if need be. Raises Unavailable."""
    # Once for both: by the nonce the server knows that two sessions bring one and the same check.
    question = {"nonce": to_b64u(os.urandom(16)), "data": data}
    plaintext = padded(to_json(question).encode("utf-8"))
    for is_last in (False, True):
        session = shake_hands(server, suite, pins)
        say("Using dynamic encryption keys from session")
        try:
            return call(server, session, 1, "licence.check", plaintext)
        except SessionLost as loss:
            if is_last:
                raise
            say(f"Asking for a new session: {loss}")


@dataclass(frozen=True)
class Verdict:
    outcome: str
    code: "str | None" = None
    support_code: "str | None" = None

    def to_json(self):
        return to_json({"outcome": self.outcome, "code": self.code, "support_code": self.support_code})


def verdict_of(reply):
    """What an opened reply says, and only an opened one may come here."""
    status, code, data = reply.get("status"), str(reply.get("code")), reply.get("data")
    if type(data) is not dict:
        data = {}
    if status == 200 and data.get("valid") is True:
        outcome = "allowed"
    elif status == 403 and code.startswith(("licence_", "device_", "seat_")):
        outcome = "denied"
    else:
        outcome, code = "unavailable", None
    return Verdict(outcome, code, data.get("support_code"))


# --- The lease: what the server's word is worth while it cannot be asked ------------------------------------

CLOCK_SLACK_S = 300
STARTED = time.monotonic()
LEASE_PROBLEMS = (OSError, ValueError, LookupError, TypeError, AttributeError)


def verify_lease(jws, keys, tool):
    """The claims of a lease for this tool, signed by one of `keys`: {kid: public key}. Raises ValueError."""
    if len(jws) > MAX_LEASE_BYTES:
        raise ValueError("the lease is too long")
    signed, _, signature = jws.rpartition(".")
    header, claims = (read_object(from_b64u(part)) for part in signed.split("."))
    # The pinned key says which algorithm it is. The header may say the same, and chooses nothing.
    if (header.get("alg"), header.get("typ")) != ("ES256", "dsk-lease+jwt") or "crit" in header:
        raise ValueError("not a lease")
    key, raw = keys.get(member(header, "kid", str)), from_b64u(signature)
    if key is None or len(raw) != 64:
        raise ValueError("not signed by a pinned key")
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    try:
        key.verify(encode_dss_signature(r, s), signed.encode("ascii"), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise ValueError("not signed by a pinned key") from None
    if claims.get("aud") != f"tool:{tool}":
        raise ValueError("the lease is for another tool")
    for name in ("iat", "nbf", "exp", "grace", "run"):
        member(claims, name, int)
    return claims


def lease_fits(lease, digests):
    """Whether enough of the machine that got the lease is found here, by weight, and one anchor of it."""
    salt, have, hit, has_anchor = from_b64u(lease["hw"]["s"]), 0, 0, False
    for kind, values in lease["hw"]["c"].items():
        label = lp("dsk1/lease-hw") + lp(kind)
        here = (hmac256(salt, label + lp(digest))[:16] for digest in digests.get(kind, []))
        have += WEIGHTS.get(kind, 0)
        if any(to_b64u(code) in values for code in here):
            hit += WEIGHTS.get(kind, 0)
            has_anchor = has_anchor or kind in ANCHORS
    return has_anchor and lease["hw"]["n"] * hit >= lease["hw"]["m"] * have


def step_clock(lease, state, now, ran):
    """One step of the clock rules: at the start, and every 60 s for as long as a tool runs.

    `now`: seconds by the machine's clock; `ran`: seconds since the last step, by one that nobody can set.
    Returns `lease`, `grace`, `expired` or `clock_rollback`, and the state for the next step. A clock that was
    set back shows by the latest time ever seen, one that stands still by the seconds used. A machine that is
    restored as a whole, state and clock together, does not show: hence leases are short.
    """
    latest, used = max(now, state["hwm"]), state["run"] + ran
    if now + CLOCK_SLACK_S < max(state["hwm"], lease["nbf"]):
        verdict = "clock_rollback"
    elif used > lease["run"] or latest > lease["exp"] + lease["grace"]:
        verdict = "expired"
    else:
        verdict = "lease" if latest <= lease["exp"] else "grace"
    return verdict, {**state, "hwm": max(latest, lease["iat"]), "run": used}


def write_whole(path, text):
    """All of it or nothing, for this user alone."""
    draft = Path(f"{path}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class LeaseFile:
    """The lease that came last, and beside it the state of its clock under a MAC; neither counts alone.

    The MAC keeps the state from being edited by hand and from serving another licence; who reads this program
    can forge it. A real tool keeps the state where the system keeps secrets: DPAPI, Keychain, libsecret.
    """

    def __init__(self, path, keys, tool, licence):
        self.path, self.state_path, self.keys, self.tool = Path(path), Path(f"{path}.state"), keys, tool
        as_typed = re.sub(r"[\s-]", "", licence.upper()).translate(str.maketrans("OIL", "011"))
        self.mac_key = sha256(b"example client, lease state" + as_typed.encode("utf-8"))

    def mac(self, text):
        return to_b64u(hmac256(self.mac_key, text.encode("utf-8")))

    def read_state(self):
        text, mac = self.state_path.read_text("utf-8").splitlines()
        if not hmac.compare_digest(mac.encode("utf-8"), self.mac(text).encode("utf-8")):
            raise ValueError("the state beside the lease was changed")
        return json.loads(text)

    def write_state(self, state):
        text = to_json(state)
        write_whole(self.state_path, f"{text}\n{self.mac(text)}\n")

    def learn(self, reply, is_allowed):
        """What an opened reply has for later: the server's time, and a lease where the answer was yes."""
        time_there, jws = member(reply, "server_time", int), reply["data"].get("lease")
        if is_allowed and jws is not None:
            lease = verify_lease(jws, self.keys, self.tool)
            write_whole(self.path, f"{jws}\n")
            # The server's time is the true one: a clock that once ran ahead is forgiven here, and only here.
            self.write_state({"hwm": max(time_there, lease["iat"]), "run": 0, "jti": lease["jti"]})
        elif self.state_path.exists():
            state = self.read_state()
            self.write_state({**state, "hwm": max(state["hwm"], time_there)})

    def judge(self, digests):
        """What step_clock says of the lease. Raises one of LEASE_PROBLEMS where there is none for us."""
        state = self.read_state()
        lease = verify_lease(self.path.read_text("ascii").strip(), self.keys, self.tool)
        if lease["jti"] != state["jti"]:
            raise ValueError("not the lease that came last")
        if not lease_fits(lease, digests):
            raise ValueError("the lease is for another machine")
        verdict, state = step_clock(lease, state, int(time.time()), math.ceil(time.monotonic() - STARTED))
        self.write_state(state)
        return verdict


def keep_lease(file, reply, is_allowed):
    """Whatever goes wrong here, what the server has said stays said."""
    try:
        file.learn(reply, is_allowed)
    except LEASE_PROBLEMS as problem:
        say(f"Nothing kept for later: {problem}")


def use_lease(file, digests):
    """The verdict while the server gives none."""
    try:
        code = file.judge(digests)
    except LEASE_PROBLEMS as problem:
        say(f"No lease to live on: {problem}")
        return Verdict("unavailable")
    say(f"The kept lease says: {code}")
    return Verdict("allowed", code) if code in ("lease", "grace") else Verdict("unavailable")


# --- The command line ---------------------------------------------------------------------------------------

EXIT_CODES = {"allowed": 0, "denied": 1, "unavailable": 2}
WRONG_USAGE = 64
USAGE = """\
Usage: python3 kunci_client.py --server URL --suite S1|S2 --pin KID:PUB [--pin KID:PUB ...]
                               --licence KEY --tool CODE --hw TYPE=VALUE [--hw TYPE=VALUE ...]
                               [--lease FILE --lease-key KID:X:Y [--lease-key KID:X:Y ...]]"""

FORMS = {
    "--server": r"https?://[^/@?#\s]+[^?#\s]*",
    "--suite": "S1|S2",
    "--pin": "[0-9a-f]{16}:[A-Za-z0-9_-]+",
    "--licence": "[A-Za-z0-9 -]{1,64}",
    "--tool": "[a-z0-9-]{1,32}",
    "--hw": f"({'|'.join(WEIGHTS)})=.+",
    "--lease": ".+",
    "--lease-key": "[A-Za-z0-9_-]+:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+",
}
REPEATABLE, OPTIONAL = {"--pin", "--hw", "--lease-key"}, {"--lease", "--lease-key"}


@dataclass(frozen=True)
class Options:
    server: str
    suite: type
    pins: "list[Pin]"
    licence: str
    tool: str
    serials: "list[tuple[str, str]]"
    lease: "LeaseFile | None"


def say(line):
    print(line, flush=True)


def pin(suite, text):
    kid, pub = text.split(":")
    if len(from_b64u(pub)) != suite.pub_bytes:
        raise ValueError("--pin is no key of this suite")
    return Pin(kid, from_b64u(pub))


def lease_key(text):
    kid, *point = text.split(":")
    x, y = (int.from_bytes(from_b64u(coordinate), "big") for coordinate in point)
    return kid, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def read_command_line(arguments):
    """Raises ValueError. No message repeats what was given: it may be a licence key."""
    given = {name: [] for name in FORMS}
    for name, value in zip_longest(arguments[::2], arguments[1::2], fillvalue=""):
        if name not in FORMS or not re.fullmatch(FORMS[name], value):
            raise ValueError(f"{name} is not in form" if name in FORMS else "there are no other options")
        given[name].append(value)
    for name, values in given.items():
        if len(values) > 1 and name not in REPEATABLE or not values and name not in OPTIONAL:
            raise ValueError(f"{name} is missing or there twice")
    if bool(given["--lease"]) != bool(given["--lease-key"]):
        raise ValueError("--lease and --lease-key go together")
    server, licence, tool = (given[name][0] for name in ("--server", "--licence", "--tool"))
    suite = SUITES[given["--suite"][0]]
    pins = [pin(suite, text) for text in given["--pin"]]
    serials = [tuple(text.split("=", 1)) for text in given["--hw"]]
    lease_keys = dict(lease_key(text) for text in given["--lease-key"])
    lease = LeaseFile(given["--lease"][0], lease_keys, tool, licence) if given["--lease"] else None
    return Options(server.rstrip("/"), suite, pins, licence, tool, serials, lease)


def decide(options):
    for kind, raw in options.serials:
        if normal_form(kind, raw) is None:
            say(f"Left out, as it identifies no machine: {kind}")
    digests = hardware_digests(options.tool, options.serials)
    say(f"This machine's fingerprint begins with {fingerprint(digests).hex()[:16]}")
    data = {"licence": options.licence, "tool": options.tool, "ver": TOOL_VERSION}
    data |= {"hwid": hardware_id(digests)}
    verdict = Verdict("unavailable")
    try:
        reply = check_licence(options.server, options.suite, options.pins, data)
        verdict = verdict_of(reply)
        say(f"The server says: {reply.get('code')}")
        if options.lease:
            keep_lease(options.lease, reply, verdict.outcome == "allowed")
    except Unavailable as reason:
        say(f"No answer: {reason}")
    if options.lease and verdict.outcome == "unavailable":
        return use_lease(options.lease, digests)
    return verdict


def main(arguments):
    try:
        options = read_command_line(arguments)
    except ValueError as mistake:
        print(f"{mistake}\n{USAGE}", file=sys.stderr)
        return WRONG_USAGE
    try:
        verdict = decide(options)
    except Exception as defect:  # Python itself would end with 1, which here means denied.
        say(f"A defect of this program: {type(defect).__name__}")
        verdict = Verdict("unavailable")
    say(verdict.to_json())
    return EXIT_CODES[verdict.outcome]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
