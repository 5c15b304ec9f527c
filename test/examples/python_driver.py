"""Answers each line of stdin with a line: the functions of the Python client, for the published vectors."""

import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "python"))
sys.dont_write_bytecode = True
import kunci_client as client


def private_key(suite, raw):
    if suite == "S1":
        return X25519PrivateKey.from_private_bytes(raw)
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


def public_key(suite, raw):
    key = private_key(suite, raw).public_key()
    if suite == "S1":
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def session_of(suite, session_id, key, iv, token):
    return client.Session(client.SUITES[suite.decode()], session_id.decode(), key, iv, token.decode())


def digests_of(tool, *pairs):
    texts = [text.decode() for text in pairs]
    return client.hardware_digests(tool.decode(), list(zip(texts[::2], texts[1::2])))


def fingerprint(tool, *pairs):
    return [client.to_json(client.hardware_id(digests_of(tool, *pairs))).encode()]


def shared(suite, private, pub):
    suite = suite.decode()
    return [client.SUITES[suite].agree(private_key(suite, private), pub)]


def hello(suite, kid, pub):
    return [client.hello_request(client.SUITES[suite.decode()], client.Pin(kid.decode(), b""), pub)]


def schedule(suite, kid, pinned, client_pub, session_id, expires_in, server_pub, ss1, ss2):
    suite, pin = client.SUITES[suite.decode()], client.Pin(kid.decode(), pinned)
    th = client.transcript_hash(suite, pin, client_pub, session_id.decode(), int(expires_in), server_pub)
    prk1, prk2 = client.chain_secrets(ss1, ss2)
    return [th, prk1, prk2, *client.session_keys(suite, prk2, th)]


def welcome(suite, kid, pinned, private, body):
    name, pin = suite.decode(), client.Pin(kid.decode(), pinned)
    own, pub = private_key(name, private), public_key(name, private)
    session = client.open_hello(client.SUITES[name], pin, own, pub, client.read_object(body))
    return [session.id.encode(), session.key, session.iv, session.token.encode()]


def request(*words):
    seq, op, salt, plaintext = words[5:]
    session, padded = session_of(*words[:5]), client.padded(plaintext)
    sealed = client.seal_request(session, int(seq), op.decode(), padded, salt)
    return [sealed.body, sealed.hash]


def reply(*words):
    seq, op, digest, body = words[5:]
    sealed = client.SealedRequest(int(seq), op.decode(), b"", digest)
    return [client.open_reply(session_of(*words[:5]), sealed, client.read_object(body))]


def verdict(opened):
    return [client.verdict_of(client.read_object(opened)).to_json().encode()]


def lease(jws, kid, x, y, tool, *pairs):
    """The claims, and whether they are for the machine of these pairs of type and raw serial."""
    key = client.lease_key(f"{kid.decode()}:{client.to_b64u(x)}:{client.to_b64u(y)}")
    claims = client.verify_lease(jws.decode(), dict([key]), tool.decode())
    fits = client.lease_fits(claims, digests_of(tool, *pairs))
    return [client.to_json(claims).encode(), client.to_json(fits).encode()]


def clock(lease, state, now, ran):
    lease, state = client.read_object(lease), client.read_object(state)
    verdict, after = client.step_clock(lease, state, int(now), int(ran))
    return [verdict.encode(), client.to_json(after).encode()]


COMMANDS = {
    "fingerprint": fingerprint,
    "public": lambda suite, private: [public_key(suite.decode(), private)],
    "shared": shared,
    "hello": hello,
    "schedule": schedule,
    "welcome": welcome,
    "request": request,
    "reply": reply,
    "verdict": verdict,
    "lease": lease,
    "clock": clock,
}

for line in sys.stdin:
    command, *words = line.split()
    try:
        results = COMMANDS[command](*(b"" if word == "-" else bytes.fromhex(word) for word in words))
        print(" ".join(result.hex() for result in results), flush=True)
    except (InvalidTag, ValueError):
        print("refused", flush=True)
