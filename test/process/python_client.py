"""The old desktop program's side of the contract, with nothing but Python's standard library and the openssl command.

Reads one JSON order a line on stdin and answers each with one JSON line on stdout. It judges nothing but the token's
signature, under the JWT_SECRET of its environment: what a reply ought to be, the test says.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE = sys.argv[1]
PLACE = urllib.parse.urlsplit(BASE)
SECRET = os.environ["JWT_SECRET"].encode()
TIMEOUT_S = 20


def reply(status, headers, body):
    return {
        "status": status,
        "headers": {name.lower(): value for name, value in headers},
        "body": body.decode("utf-8"),
    }


def by_urllib(method, path, headers, body):
    request = urllib.request.Request(BASE + path, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return reply(answer.status, answer.getheaders(), answer.read())
    except urllib.error.HTTPError as answer:
        return reply(answer.code, answer.headers.items(), answer.read())


def by_http_client(method, path, headers, body):
    connection = http.client.HTTPConnection(PLACE.hostname, PLACE.port, timeout=TIMEOUT_S)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    result = reply(answer.status, answer.getheaders(), answer.read())
    connection.close()
    return result


def by_socket(method, path, headers, body):
    """Every byte written here: nothing that a library would add or leave out."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"Host: {PLACE.netloc}", "Cache-Control: no-cache", "", ""]
    with socket.create_connection((PLACE.hostname, PLACE.port), timeout=TIMEOUT_S) as connection:
        connection.sendall("\r\n".join(lines).encode("ascii") + (body or b""))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return reply(answer.status, answer.getheaders(), answer.read())


WAYS = {"urllib": by_urllib, "http.client": by_http_client, "socket": by_socket}


def b64url_decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64url_encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def signature_of(signed):
    return hmac.new(SECRET, signed.encode("ascii"), hashlib.sha256).digest()


def send(order):
    body = order.get("body")
    result = WAYS[order["way"]](
        order["method"],
        order["path"],
        order.get("headers", {}),
        None if body is None else body.encode("utf-8"),
    )
    if result["status"] != 200 or '"session_token"' not in result["body"]:
        return result
    token = json.loads(result["body"])["session_token"]
    header, payload, signature = token.split(".")
    # As the desktop program does it: the payload is read without a look at the signature.
    result["claims"] = json.loads(b64url_decode(payload))
    result["header_text"] = b64url_decode(header).decode("utf-8")
    result["token"] = token
    result["is_signed"] = hmac.compare_digest(b64url_decode(signature), signature_of(f"{header}.{payload}"))
    return result


def sign(order):
    parts = [b64url_encode(json.dumps(order[name]).encode("utf-8")) for name in ("header", "claims")]
    signed = ".".join(parts)
    return {"token": f"{signed}.{b64url_encode(signature_of(signed))}"}


def encrypt(order):
    command = [os.environ["OPENSSL"], "enc", "-aes-256-cbc", "-K", order["key"], "-iv", order["iv"]]
    done = subprocess.run(command, input=order["hwid"].encode("utf-8"), stdout=subprocess.PIPE, check=True)
    return {"hex": done.stdout.hex()}


DEEDS = {"send": send, "sign": sign, "encrypt": encrypt}

for line in sys.stdin:
    order = json.loads(line)
    print(json.dumps(DEEDS[order["do"]](order)), flush=True)
