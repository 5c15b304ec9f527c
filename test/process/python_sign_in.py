"""A program that signs in, with nothing but Python's standard library and, for signatures, the package `cryptography`.

Reads one JSON order a line on stdin and answers each with one JSON line on stdout. Its token, and that which it may come
back with, it keeps to itself; of each token it says whether the server's public keys verify it (RFC 7515, RFC 8037).
"""

import base64
import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BASE = sys.argv[1]
PLACE = urllib.parse.urlsplit(BASE)
TIMEOUT_S = 30
DEVICE = {"User-Agent": "till/2.1", "X-Device-Name": "Python till", "X-Device-Type": "desktop"}

held = {"token": None, "take_over": None, "stream": None}


def request(method, path, body=None):
    headers = dict(DEVICE)
    if held["token"] is not None:
        headers["Authorization"] = "Bearer " + held["token"]
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode("utf-8")
    wish = urllib.request.Request(BASE + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(wish, timeout=TIMEOUT_S) as reply:
            return {"status": reply.status, "body": json.load(reply)}
    except urllib.error.HTTPError as reply:
        return {"status": reply.code, "body": json.load(reply)}


def b64url_decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_genuine(token):
    signed, _, signature = token.rpartition(".")
    header = json.loads(b64url_decode(signed.partition(".")[0]))
    keys = {key["kid"]: key for key in request("GET", "/.well-known/jwks.json")["body"]["keys"]}
    key = keys.get(header["kid"])
    if key is None or (header["alg"], key["kty"], key["crv"]) != ("EdDSA", "OKP", "Ed25519"):
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(b64url_decode(key["x"]))
        public.verify(b64url_decode(signature), signed.encode("ascii"))
    except InvalidSignature:
        return False
    return True


def enter(path, body):
    held["token"] = None
    reply = request("POST", path, body)
    if reply["status"] == 200:
        held["token"] = reply["body"].pop("token")["token"]
        reply["isGenuine"] = is_genuine(held["token"])
    if reply["status"] == 409 and "takeOver" in reply["body"]:
        held["take_over"] = reply["body"].pop("takeOver")["token"]
    return reply


def sign_in(order):
    return enter("/api/auth/login", {"email": order["email"], "password": order["password"]})


def take_over(_order):
    return enter("/api/auth/take-over", {"token": held["take_over"]})


def ask(order):
    return request(order["method"], order["path"], order.get("body"))


def listen(_order):
    ticket = request("POST", "/api/events/ticket")["body"]["data"]
    connection = http.client.HTTPConnection(PLACE.hostname, PLACE.port, timeout=TIMEOUT_S)
    connection.request("GET", ticket["url"], headers=DEVICE)
    held["stream"] = connection.getresponse()
    return hear({"type": "snapshot"})


def hear(order):
    """The next event of a type; lines that are no event's data are passed over."""
    event = None
    for line in held["stream"]:
        name, _, value = line.decode("utf-8").rstrip("\n").partition(": ")
        if name == "event":
            event = value
        if name == "data" and event == order["type"]:
            return json.loads(value)
    raise EOFError("the stream has ended before " + order["type"])


DEEDS = {"sign_in": sign_in, "take_over": take_over, "ask": ask, "listen": listen, "hear": hear}

for line in sys.stdin:
    order = json.loads(line)
    print(json.dumps(DEEDS[order["do"]](order)), flush=True)
