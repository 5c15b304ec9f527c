"""Computes with the Python of docs/PROTOCOL.md what the vectors publish.

Usage: protocol_page.py DIRECTORY VECTORS, where DIRECTORY has the page"s block as page.py. Prints one JSON object: the
name of a vector, and the value that came out.
"""
import json
import sys

sys.path.insert(0, sys.argv[1])
import page  # noqa: E402

with open(sys.argv[2], encoding="utf-8") as file:
    vectors = json.load(file)


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def session(name):
    v = vectors[name]
    raw = {key: bytes.fromhex(v[key]) for key in ("S_pub", "c_pub", "s_pub", "ss1", "ss2")}
    kid = page.key_id(name, raw["S_pub"])
    th = page.transcript(name, kid, raw["S_pub"], raw["c_pub"], v["session_id"], v["expires_in"], raw["s_pub"])
    prk1, prk2, hello_key, session_key, session_iv = page.schedule(name, raw["ss1"], raw["ss2"], th)
    k_c2s, k_s2c, cnf = (page.direction_key(name, session_key, v["session_id"], label)
                         for label in ("dsk1/c2s", "dsk1/s2c", "dsk1/cnf"))
    request, response = v["request"], v["response"]
    salt, salt2 = bytes.fromhex(request["salt"]), bytes.fromhex(response["salt"])
    seq, op = request["seq"], request["op"]
    mk, aad = page.request_context(name, v["session_id"], seq, op, salt, v["access_token"], k_c2s)
    rh = page.request_hash(aad, salt, bytes.fromhex(request["box"]))
    mk2, aad2 = page.reply_context(name, v["session_id"], seq, op, salt2, rh, k_s2c)
    return {
        "kid": kid, "th": th, "prk1": prk1, "prk2": prk2, "hello_key": hello_key, "session_key": session_key,
        "session_iv": session_iv, "k_c2s": k_c2s, "k_s2c": k_s2c, "cnf": cnf,
        "request.nonce": page.nonce_of(session_iv, seq), "request.aad": aad, "request.mk": mk, "request.rh": rh,
        "request.plaintext": page.padded(request["plaintext"].rstrip()).decode(),
        "response.aad": aad2, "response.mk": mk2,
    }


def s2_tags():
    v = vectors["S2"]
    th, hello_box = bytes.fromhex(v["th"]), bytes.fromhex(v["hello_box"])
    boxes = [(v["hello_key"], bytes(16), page.hello_aad(th), hello_box)]
    for message in (v["request"], v["response"]):
        nonce = bytes.fromhex(v["request"]["nonce"])
        boxes.append((message["mk"], nonce, bytes.fromhex(message["aad"]), bytes.fromhex(message["box"])))
    return [page.cbc_hs512_tag(bytes.fromhex(key), nonce, aad, box[:-32]) == box[-32:]
            for key, nonce, aad, box in boxes]


def hardware():
    v = vectors["hwid"]
    lists = {kind: raw if isinstance(raw, list) else [raw] for kind, raw in v["raw"].items()}
    norm = {kind: sorted(n for n in (page.normal_form(kind, raw) for raw in raws) if n)
            for kind, raws in lists.items()}
    digests = {kind: [page.digest(v["tool"], kind, n) for n in norms] for kind, norms in norm.items()}
    salt = page.from_b64u(vectors["lease"]["payload"]["hw"]["s"])
    return {
        "hwid.norm": norm,
        "hwid.digest_hex": {kind: [d.hex() for d in ds] for kind, ds in digests.items()},
        "lease.payload.hw.c": {kind: [page.lease_component(salt, kind, d) for d in ds] for kind, ds in digests.items()},
    }


def refuses(text):
    try:
        page.from_b64u(text)
        return False
    except ValueError:
        return True


result = {f"{name}.{key}": plain(value) for name in ("S1", "S2", "S3") for key, value in session(name).items()}
print(json.dumps({
    "vectors": {**result, **hardware()},
    "s2_tags": s2_tags(),
    "refused": [text for text in ("YQ", "YR", "YQ=", "YQ==", "Y", "Y Q", "Y+", "Y/", "YQ\n") if refuses(text)],
    "licence_keys": [page.is_licence_key(key) for key in (
        vectors["licence"]["key"], vectors["licence"]["normalised"].lower(), vectors["licence"]["key"][:-1] + "0")],
    "left_out": [raw for raw in ("To be filled by O.E.M.", "Default string", "0000-0000", "N/A", "PF2ABCDE")
                 if page.normal_form("board", raw) is None],
}))
