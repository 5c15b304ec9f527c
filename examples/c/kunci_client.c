/*
 * Asks a Kunci server whether this machine may run a tool: the sealed protocol dsk1, suites S1 and S2.
 *
 * It needs a C11 compiler, POSIX and OpenSSL 3 (Debian: gcc libc6-dev libssl-dev):
 *
 *   cc -O2 -Wall -Wextra -o kunci_client kunci_client.c -lssl -lcrypto
 *
 *   ./kunci_client --server https://licences.example --suite S1 --pin KID:PUB --tool demo \
 *       --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX \
 *       --hw board=PF2ABCDE --hw disk=S4EWNX0M123456Z --hw mac=3C:7C:3F:1A:2B:4C
 *
 * `kunci keys pins` prints KID and PUB; two --pin make a rotation smooth, the current one first. The last
 * line of output is one JSON object, and the exit code says the same: 0 allowed, 1 denied, 2 unavailable,
 * 64 wrong usage.
 *
 * What it trusts: the pinned public key and nothing else. A reply counts when its box opens under keys that
 * only the owner of that key can derive; whatever else arrives (a status, an error, a forged reply) makes the
 * check unavailable and is never a verdict. TLS hides the traffic from others; it proves nothing here.
 * Whoever owns the machine can patch this program: let the tool need something that only an opened reply has.
 *
 * The protocol is in the sections Hardware, Handshake, Records and The check. The others are what C lacks and
 * other languages have in their libraries; they can be skipped at first.
 */
#define _POSIX_C_SOURCE 200809L

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define TOOL_VERSION "1.0.0"
#define TIMEOUT_MS 10000
#define LARGEST_REPLY (64 * 1024)
#define MOST_PINS 8
#define MOST_HARDWARE 64

typedef unsigned char byte;

/* Bytes that are somewhere else: a buffer's, an argument's, a part of a reply. */
typedef struct {
    const byte *at;
    size_t len;
} bytes;

/* Room for a reply and its HTTP header. Never on the heap: there is nothing to free and nothing to leak. */
typedef struct {
    size_t len;
    byte data[LARGEST_REPLY + 32 * 1024];
} buffer;

/* Sizes in bytes: of a public key, and of the key, nonce and tag of the suite's AEAD. */
typedef struct {
    const char *name;
    byte id;
    size_t public, key, nonce, tag;
} suite;

static const suite S1 = {"S1", 1, 32, 32, 12, 16}; /* X25519, AES-256-GCM */
static const suite S2 = {"S2", 2, 65, 64, 16, 32}; /* P-256, A256CBC-HS512 */

typedef struct {
    char kid[17];
    byte public[65];
} pin;

typedef struct {
    const suite *suite;
    char id[65];
    byte key[32], iv[16];
    buffer token;
} session;

/* A request as it was sent, and what is needed to open its reply. */
typedef struct {
    uint64_t seq;
    const char *op;
    buffer body;
    byte hash[32];
} request;

/* A function that can fail returns why, and NULL when it did not. No reason holds a secret. */
typedef const char *failure;

static const char MALFORMED[] = "the reply is malformed";
static const char BOX[] = "the box does not open";
static const char POINT[] = "the key is no point of the curve";
static const char TOO_LARGE[] = "the reply is too large";
static const char NO_SESSION[] = "the server opens no session";
static const char UNKNOWN_KEY[] = "the server knows none of the pinned keys";
static const char NO_ANSWER[] = "the server does not answer the question";
static const char SESSION_LOST[] = "the session has ended, or nobody answers in it";

#define UNAVAILABLE_LINE "{\"outcome\":\"unavailable\",\"code\":null,\"support_code\":null}"

/* For what fails only when memory or random numbers have run out. */
static void must(bool done)
{
    if (done) return;
    puts(UNAVAILABLE_LINE);
    exit(2);
}

/* ---- Bytes ---- */

static bytes view(const buffer *from) { return (bytes){from->data, from->len}; }
static bytes text(const char *from) { return (bytes){(const byte *)from, strlen(from)}; }

static bool equals(bytes a, const char *b) { return a.len == strlen(b) && memcmp(a.at, b, a.len) == 0; }

static void put(buffer *to, bytes from)
{
    must(from.len <= sizeof to->data - to->len);
    if (from.len > 0) memcpy(to->data + to->len, from.at, from.len);
    to->len += from.len;
}

static void put_text(buffer *to, const char *from) { put(to, text(from)); }

static void put_byte(buffer *to, byte value) { put(to, (bytes){&value, 1}); }

/* Big-endian. */
static void put_number(buffer *to, uint64_t number, int size)
{
    while (size-- > 0) put_byte(to, number >> (8 * size) & 0xff);
}

/* Bytes behind their length, so that no two lists of fields run together into the same bytes. */
static void put_lp(buffer *to, bytes from)
{
    must(from.len <= 0xffff);
    put_number(to, from.len, 2);
    put(to, from);
}

static const char B64U[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_b64u(buffer *to, bytes from)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < from.len; i++) {
        bits = bits << 8 | from.at[i];
        for (count += 8; count >= 6; count -= 6) put_byte(to, B64U[bits >> (count - 6) & 63]);
    }
    if (count > 0) put_byte(to, B64U[bits << (6 - count) & 63]);
}

/* Refuses padding, foreign characters and spare bits that are not zero: bytes have one text form only. */
static bool from_b64u(bytes from, buffer *to)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < from.len; i++) {
        const char *digit = memchr(B64U, from.at[i], 64);
        if (digit == NULL) return false;
        bits = bits << 6 | (uint32_t)(digit - B64U);
        if ((count += 6) < 8) continue;
        count -= 8;
        put_byte(to, bits >> count & 0xff);
    }
    return count < 6 && (bits & ((1u << count) - 1)) == 0;
}

/* ---- JSON (RFC 8259): a text is judged as a whole first; then members are looked up in it. ---- */

static void json_space(bytes *json)
{
    while (json->len > 0 && memchr(" \t\r\n", *json->at, 4) != NULL) json->at++, json->len--;
}

static bool json_take(bytes *json, const char *word)
{
    size_t len = strlen(word);
    if (json->len < len || memcmp(json->at, word, len) != 0) return false;
    json->at += len, json->len -= len;
    return true;
}

static size_t json_digits(bytes *json)
{
    size_t count = 0;
    for (; json->len > 0 && *json->at >= '0' && *json->at <= '9'; count++) json->at++, json->len--;
    return count;
}

static bool json_number(bytes *json)
{
    json_take(json, "-");
    if (!json_take(json, "0") && json_digits(json) == 0) return false;
    if (json_take(json, ".") && json_digits(json) == 0) return false;
    if (!json_take(json, "e") && !json_take(json, "E")) return true;
    if (!json_take(json, "+")) json_take(json, "-");
    return json_digits(json) > 0;
}

static bool json_string(bytes *json)
{
    if (!json_take(json, "\"")) return false;
    while (json->len > 0 && *json->at >= ' ') {
        if (json_take(json, "\"")) return true;
        if (json_take(json, "\\u")) {
            for (int i = 0; i < 4; i++, json->at++, json->len--)
                if (json->len == 0 || memchr("0123456789abcdefABCDEF", *json->at, 22) == NULL) return false;
        } else if (json_take(json, "\\")) {
            if (json->len == 0 || memchr("\"\\/bfnrt", *json->at, 8) == NULL) return false;
            json->at++, json->len--;
        } else {
            json->at++, json->len--;
        }
    }
    return false;
}

/* Moves behind one value and the space around it. */
static bool json_value(bytes *json, int depth)
{
    json_space(json);
    if (depth == 0 || json->len == 0) return false;
    byte first = *json->at;
    bool is_good;
    if (first == '{' || first == '[') {
        const char *end = first == '{' ? "}" : "]";
        json->at++, json->len--;
        json_space(json);
        is_good = json_take(json, end);
        while (!is_good) {
            json_space(json);
            if (first == '{' && !json_string(json)) return false;
            json_space(json);
            if (first == '{' && !json_take(json, ":")) return false;
            if (!json_value(json, depth - 1)) return false;
            is_good = json_take(json, end);
            if (!is_good && !json_take(json, ",")) return false;
        }
    } else if (first == '"') {
        is_good = json_string(json);
    } else {
        bool is_word = json_take(json, "true") || json_take(json, "false") || json_take(json, "null");
        is_good = is_word || json_number(json);
    }
    json_space(json);
    return is_good;
}

static bool json_is_valid(bytes json) { return json_value(&json, 16) && json.len == 0; }

/* The value of a member as it is written; of no length where there is none, or more than one of the name. */
static bytes json_member(bytes json, const char *name)
{
    bytes found = {NULL, 0};
    json_space(&json);
    if (!json_take(&json, "{")) return found;
    for (json_space(&json); !json_take(&json, "}"); json_take(&json, ","), json_space(&json)) {
        bytes key = json, value;
        json_string(&json);
        key = (bytes){key.at + 1, (size_t)(json.at - key.at) - 2};
        json_space(&json);
        json_take(&json, ":");
        json_space(&json);
        value = json;
        json_value(&json, 16);
        if (!equals(key, name)) continue;
        if (found.at != NULL) return (bytes){NULL, 0};
        found = (bytes){value.at, (size_t)(json.at - value.at)};
        while (memchr(" \t\r\n", found.at[found.len - 1], 4) != NULL) found.len--;
    }
    return found;
}

/* What stands between the quotes, escapes as they are; of no length for what is no string. */
static bytes json_inside(bytes value)
{
    if (value.len < 2 || value.at[0] != '"') return (bytes){NULL, 0};
    return (bytes){value.at + 1, value.len - 2};
}

/* A whole number of up to 15 digits. */
static bool json_integer(bytes value, uint64_t *number)
{
    *number = 0;
    if (value.len == 0 || value.len > 15) return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') return false;
        *number = *number * 10 + (value.at[i] - '0');
    }
    return true;
}

static bool json_member_is(bytes json, const char *name, uint64_t expected)
{
    uint64_t number;
    return json_integer(json_member(json, name), &number) && number == expected;
}

/* ---- Hardware: serial numbers become digests here, and only the digests leave the machine. ---- */

typedef struct {
    const char *type, *raw;
} hardware;

/* In the order that the fingerprint has them in. */
static const char *const COMPONENTS[] = {"bios", "board", "cpu", "disk", "mac", "osid", "tpm"};
#define COMPONENT_COUNT (sizeof COMPONENTS / sizeof *COMPONENTS)

/* What makers leave in place of a serial number, from docs/PROTOCOL.md: equal on thousands of machines. */
static const char *const PLACEHOLDERS[] = {
    "TOBEFILLEDBYOEM", "DEFAULTSTRING", "SYSTEMSERIALNUMBER", "BASEBOARDSERIALNUMBER",
    "CHASSISSERIALNUMBER", "SYSTEMMANUFACTURER", "SYSTEMPRODUCTNAME", "NOTAPPLICABLE", "NOTSPECIFIED",
    "NOTAVAILABLE", "NOTDEFINED", "NOTPRESENT", "UNKNOWN", "UNDEFINED", "INVALID", "NONE", "NULL", "EMPTY",
    "SERIAL", "SERIALNUMBER", "0123456789", "123456789", "1234567890", "12345678", "0123456789ABCDEF",
    "123456789ABCDEF", "03000200040005000006000700080009",
};

/*
 * Letters and digits in upper case, at most 128 of them; false for what identifies no machine. The protocol's
 * NFKC changes no ASCII text. C has no NFKC, so a value with other characters is left out, not misread.
 */
static bool normalise(const char *type, const char *raw, char norm[129])
{
    size_t len = 0;
    for (const char *at = raw; *at != '\0'; at++) {
        if ((byte)*at > 0x7e) return false;
        char upper = *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at;
        bool is_kept = (upper >= 'A' && upper <= 'Z') || (upper >= '0' && upper <= '9');
        if (is_kept && len < 128) norm[len++] = upper;
    }
    norm[len] = '\0';
    if (len < 4 || strspn(norm, (char[]){norm[0], '\0'}) == len) return false;
    for (size_t i = 0; i < sizeof PLACEHOLDERS / sizeof *PLACEHOLDERS; i++)
        if (strcmp(norm, PLACEHOLDERS[i]) == 0) return false;
    /* An address neither multicast nor made up by software: the lowest two bits of its first octet tell. */
    return strcmp(type, "mac") != 0 ||
           (len == 12 && strspn(norm, "0123456789ABCDEF") == 12 && strchr("048C", norm[1]) != NULL);
}

/* The digest depends on the tool, so that two vendors cannot recognise one machine. */
static void digest(const char *tool, const char *type, const char *norm, byte hash[32])
{
    buffer input = {0};
    put_lp(&input, text("dsk1/hwid"));
    put_lp(&input, text(tool));
    put_lp(&input, text(type));
    put_lp(&input, text(norm));
    must(SHA256(input.data, input.len, hash) != NULL);
}

static int compare_norms(const void *a, const void *b) { return strcmp(a, b); }

/* Adds the digests of one type as a member, where there are any. */
static void put_component(buffer *json, const char *tool, const char *type, const hardware *list,
                          size_t count)
{
    char norms[MOST_HARDWARE][129];
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].type, type) != 0 || !normalise(type, list[i].raw, norms[found])) continue;
        size_t same = 0;
        while (strcmp(norms[same], norms[found]) != 0) same++;
        if (same == found) found++;
    }
    if (found == 0) return;
    if (strcmp(type, "mac") == 0) qsort(norms, found, sizeof *norms, compare_norms);
    put_text(json, json->data[json->len - 1] == '{' ? "\"" : ",\"");
    put_text(json, type);
    for (size_t i = 0; i < found; i++) {
        byte hash[32];
        digest(tool, type, norms[i], hash);
        put_text(json, i == 0 ? "\":[\"" : "\",\"");
        put_b64u(json, (bytes){hash, 32});
    }
    put_text(json, "\"]");
}

/* The fingerprint as JSON, of at most MOST_HARDWARE values. */
static void put_fingerprint(buffer *json, const char *tool, const hardware *list, size_t count)
{
    put_text(json, "{\"c\":{");
    for (size_t i = 0; i < COMPONENT_COUNT; i++) put_component(json, tool, COMPONENTS[i], list, count);
    put_text(json, "},\"v\":1}");
}

/* ---- Key derivation and authenticated encryption ---- */

static void hmac256(bytes key, bytes message, byte output[32])
{
    must(HMAC(EVP_sha256(), key.at, (int)key.len, message.at, message.len, output, NULL) != NULL);
}

/* HKDF-Expand with SHA-256, RFC 5869 section 2.3. */
static void expand(const byte key[32], const buffer *info, byte *output, size_t len)
{
    byte block[32];
    for (byte counter = 1; len > 0; counter++) {
        buffer input = {0};
        if (counter > 1) put(&input, (bytes){block, 32});
        put(&input, view(info));
        put_byte(&input, counter);
        hmac256((bytes){key, 32}, view(&input), block);
        size_t part = len < 32 ? len : 32;
        memcpy(output, block, part);
        output += part, len -= part;
    }
}

/* The tag of A256CBC-HS512, RFC 7518 section 5.2.2.1; the first half of the key is for it. */
static void cbc_tag(const byte *key, const byte *nonce, bytes aad, bytes ciphertext, byte tag[32])
{
    buffer input = {0};
    byte mac[64];
    put(&input, aad);
    put(&input, (bytes){nonce, 16});
    put(&input, ciphertext);
    put_number(&input, 8 * (uint64_t)aad.len, 8);
    must(HMAC(EVP_sha512(), key, 32, input.data, input.len, mac, NULL) != NULL);
    memcpy(tag, mac, 32);
}

/* Encrypts and authenticates: ciphertext, then tag. */
static void seal(const suite *suite, const byte *key, const byte *nonce, bytes aad, bytes plaintext,
                 buffer *box)
{
    bool is_gcm = suite == &S1;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = is_gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
    int len = 0, rest = 0;
    must(plaintext.len + 64 <= sizeof box->data);
    must(EVP_EncryptInit_ex(context, cipher, NULL, is_gcm ? key : key + 32, nonce) == 1);
    if (is_gcm) must(EVP_EncryptUpdate(context, NULL, &len, aad.at, (int)aad.len) == 1);
    must(EVP_EncryptUpdate(context, box->data, &len, plaintext.at, (int)plaintext.len) == 1);
    must(EVP_EncryptFinal_ex(context, box->data + len, &rest) == 1);
    box->len = (size_t)(len + rest);
    byte tag[32];
    if (is_gcm) must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1);
    else cbc_tag(key, nonce, aad, view(box), tag);
    put(box, (bytes){tag, suite->tag});
    EVP_CIPHER_CTX_free(context);
}

/* One failure for every cause. In S2 nothing is decrypted before the tag is known to be right. */
static failure open_box(const suite *suite, const byte *key, const byte *nonce, bytes aad, bytes box,
                        buffer *plaintext)
{
    bool is_gcm = suite == &S1;
    if (box.len < suite->tag || box.len > sizeof plaintext->data) return BOX;
    bytes ciphertext = {box.at, box.len - suite->tag};
    byte tag[32];
    memcpy(tag, box.at + ciphertext.len, suite->tag);
    if (!is_gcm) {
        byte expected[32];
        cbc_tag(key, nonce, aad, ciphertext, expected);
        if (CRYPTO_memcmp(expected, tag, 32) != 0) return BOX;
    }
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = is_gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
    int len = 0, rest = 0;
    must(EVP_DecryptInit_ex(context, cipher, NULL, is_gcm ? key : key + 32, nonce) == 1);
    if (is_gcm) {
        must(EVP_DecryptUpdate(context, NULL, &len, aad.at, (int)aad.len) == 1);
        must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1);
    }
    bool is_open =
        EVP_DecryptUpdate(context, plaintext->data, &len, ciphertext.at, (int)ciphertext.len) == 1 &&
        EVP_DecryptFinal_ex(context, plaintext->data + len, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    plaintext->len = is_open ? (size_t)(len + rest) : 0;
    return is_open ? NULL : BOX;
}

/* ---- Key agreement: X25519 (RFC 7748) in S1, ECDH over P-256 in S2. ---- */

static EVP_PKEY *new_key(const suite *suite)
{
    EVP_PKEY *key = suite == &S1 ? EVP_PKEY_Q_keygen(NULL, NULL, "X25519")
                                 : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    must(key != NULL);
    return key;
}

/* S1: 32 bytes. S2: the uncompressed point, 0x04, X and Y. */
static void public_key(const suite *suite, EVP_PKEY *key, byte public[65])
{
    byte *encoded = NULL;
    must(EVP_PKEY_get1_encoded_public_key(key, &encoded) == suite->public);
    memcpy(public, encoded, suite->public);
    OPENSSL_free(encoded);
}

/* The key of the other side; NULL for what is no point of the curve of ours. */
static EVP_PKEY *peer_key(const suite *suite, EVP_PKEY *ours, bytes public)
{
    if (public.len != suite->public) return NULL;
    if (suite == &S1) return EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public.at, public.len);
    EVP_PKEY *peer = EVP_PKEY_new();
    must(peer != NULL && EVP_PKEY_copy_parameters(peer, ours) == 1);
    if (public.at[0] == 4 && EVP_PKEY_set1_encoded_public_key(peer, public.at, public.len) == 1) return peer;
    EVP_PKEY_free(peer);
    return NULL;
}

/* Refuses what is no point of the curve, and X25519 keys that would force an all-zero secret. */
static failure shared_secret(const suite *suite, EVP_PKEY *ours, bytes public, byte secret[32])
{
    size_t len = 32;
    EVP_PKEY *peer = peer_key(suite, ours, public);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(ours, NULL);
    bool is_agreed = peer != NULL && EVP_PKEY_derive_init(context) == 1 &&
                     EVP_PKEY_derive_set_peer(context, peer) == 1 &&
                     EVP_PKEY_derive(context, secret, &len) == 1 && len == 32;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    return is_agreed ? NULL : POINT;
}

/* ---- Handshake: two key agreements, one with the pinned key and one with a fresh key of the server. ---- */

static void hello(const suite *suite, const char *kid, const byte *public, buffer *json)
{
    put_text(json, "{\"v\":1,\"suite\":\"");
    put_text(json, suite->name);
    put_text(json, "\",\"kid\":\"");
    put_text(json, kid);
    put_text(json, "\",\"pub\":\"");
    put_b64u(json, (bytes){public, suite->public});
    put_text(json, "\",\"ext\":\"\"}");
}

/* What both sides have seen of a handshake. */
typedef struct {
    const pin *pin;
    byte client_public[65];
    char session_id[65];
    uint32_t expires_in;
    bytes server_public;
} transcript;

typedef struct {
    byte th[32], prk1[32], prk2[32], hello_key[64], session_key[32], session_iv[16];
} keys;

static void expand_label(const keys *from, const char *label, byte *output, size_t len)
{
    buffer info = {0};
    put_lp(&info, text(label));
    put(&info, (bytes){from->th, 32});
    expand(from->prk2, &info, output, len);
}

/*
 * Every public value of the handshake goes into one hash, and that hash into every key: a side that saw other
 * values has other keys.
 */
static void schedule(const suite *suite, const transcript *seen, const byte ss1[32], const byte ss2[32],
                     keys *to)
{
    buffer input = {0};
    put_lp(&input, text("dsk1/th"));
    put_byte(&input, suite->id);
    put_lp(&input, text(seen->pin->kid));
    put_lp(&input, (bytes){seen->pin->public, suite->public});
    put_lp(&input, (bytes){seen->client_public, suite->public});
    put_lp(&input, text(""));
    put_lp(&input, text(seen->session_id));
    put_number(&input, seen->expires_in, 4);
    put_lp(&input, seen->server_public);
    must(SHA256(input.data, input.len, to->th) != NULL);
    hmac256(text("dsk1/kex"), (bytes){ss1, 32}, to->prk1);
    hmac256((bytes){to->prk1, 32}, (bytes){ss2, 32}, to->prk2);
    expand_label(to, "dsk1/hello", to->hello_key, suite->key);
    expand_label(to, "dsk1/session_key", to->session_key, 32);
    expand_label(to, "dsk1/session_iv", to->session_iv, suite->nonce);
}

static bool is_session_id(bytes id)
{
    if (id.len != 64) return false;
    for (size_t i = 0; i < 64; i++)
        if (memchr("0123456789abcdef", id.at[i], 16) == NULL) return false;
    return true;
}

/* The token is for the server; all a client may ask of it is that it belongs to this session. */
static bool token_belongs_to(bytes token, const char *session_id)
{
    const byte *dots[2];
    size_t count = 0;
    for (size_t i = 0; i < token.len; i++) {
        if (token.at[i] == '.' && count++ < 2) dots[count - 1] = &token.at[i];
        else if (memchr(B64U, token.at[i], 64) == NULL) return false;
    }
    buffer payload = {0};
    if (count != 2) return false;
    if (!from_b64u((bytes){dots[0] + 1, (size_t)(dots[1] - dots[0]) - 1}, &payload)) return false;
    bytes claims = view(&payload);
    return json_is_valid(claims) && equals(json_inside(json_member(claims, "sid")), session_id);
}

/* Opens the server's answer: only the owner of the pinned key could have sealed its box. */
static failure welcome(const suite *suite, const pin *pin, EVP_PKEY *ours, bytes reply, session *to)
{
    buffer public = {0}, box = {0}, aad = {0}, opened = {0};
    if (!json_is_valid(reply)) return MALFORMED;
    bytes id = json_inside(json_member(reply, "session_id"));
    uint64_t expires_in;
    if (!json_member_is(reply, "v", 1) || !equals(json_inside(json_member(reply, "suite")), suite->name) ||
        !equals(json_inside(json_member(reply, "kid")), pin->kid) || !is_session_id(id) ||
        !json_integer(json_member(reply, "expires_in"), &expires_in) ||
        expires_in < 1 || expires_in > UINT32_MAX ||
        !from_b64u(json_inside(json_member(reply, "pub")), &public) ||
        !from_b64u(json_inside(json_member(reply, "box")), &box))
        return MALFORMED;

    transcript seen = {.pin = pin, .expires_in = (uint32_t)expires_in, .server_public = view(&public)};
    public_key(suite, ours, seen.client_public);
    memcpy(seen.session_id, id.at, 64);
    byte ss1[32], ss2[32];
    failure why = shared_secret(suite, ours, (bytes){pin->public, suite->public}, ss1);
    if (why == NULL) why = shared_secret(suite, ours, view(&public), ss2);
    if (why != NULL) return why;
    keys derived;
    schedule(suite, &seen, ss1, ss2, &derived);

    put_lp(&aad, text("dsk1/hello"));
    put(&aad, (bytes){derived.th, 32});
    why = open_box(suite, derived.hello_key, (byte[16]){0}, view(&aad), view(&box), &opened);
    if (why != NULL) return why;
    bytes token = json_is_valid(view(&opened)) ? json_inside(json_member(view(&opened), "token")) : text("");
    if (!token_belongs_to(token, seen.session_id)) return MALFORMED;
    *to = (session){.suite = suite};
    memcpy(to->id, seen.session_id, sizeof to->id);
    memcpy(to->key, derived.session_key, 32);
    memcpy(to->iv, derived.session_iv, suite->nonce);
    put(&to->token, token);
    return NULL;
}

/* ---- Records: every message has its own key, and a reply opens only for the request it answers. ---- */

/* The session's IV with the sequence number XORed into its last 8 bytes. */
static void nonce_of(const session *in, uint64_t seq, byte nonce[16])
{
    memcpy(nonce, in->iv, in->suite->nonce);
    for (size_t i = 0; i < 8; i++) nonce[in->suite->nonce - 1 - i] ^= seq >> (8 * i) & 0xff;
}

/* request_hash is of no length for requests, which have no such field. */
static void message_key(const session *in, const char *direction, uint64_t seq, bytes salt,
                        bytes request_hash, byte key[64])
{
    buffer info = {0}, message = {0};
    byte base[32];
    put_lp(&info, text(direction));
    put_byte(&info, in->suite->id);
    put_lp(&info, text(in->id));
    expand(in->key, &info, base, 32);
    put_lp(&message, text("dsk1/mk"));
    put_number(&message, seq, 8);
    put_lp(&message, salt);
    if (request_hash.len > 0) put_lp(&message, request_hash);
    expand(base, &message, key, in->suite->key);
}

static void put_associated_data(buffer *aad, const session *in, const char *label, uint64_t seq,
                                const char *op, const byte hash[32])
{
    put_lp(aad, text(label));
    put_byte(aad, in->suite->id);
    put_lp(aad, text(in->id));
    put_number(aad, seq, 8);
    put_lp(aad, text(op));
    put_lp(aad, (bytes){hash, 32});
}

/* Adds spaces up to a multiple of 256 bytes, which JSON does not mind: lengths tell little. */
static void pad(buffer *json)
{
    while (json->len % 256 != 0) put_byte(json, ' ');
}

/* salt: 16 random bytes, new for every request. plaintext: JSON, which is padded here. */
static void seal_request(const session *in, uint64_t seq, const char *op, bytes salt, buffer *plaintext,
                         request *to)
{
    buffer aad = {0}, box = {0}, input = {0};
    byte token_hash[32], key[64], nonce[16];
    must(SHA256(in->token.data, in->token.len, token_hash) != NULL);
    put_associated_data(&aad, in, "dsk1/req", seq, op, token_hash);
    message_key(in, "dsk1/c2s", seq, salt, (bytes){NULL, 0}, key);
    nonce_of(in, seq, nonce);
    pad(plaintext);
    seal(in->suite, key, nonce, view(&aad), view(plaintext), &box);

    put_lp(&input, text("dsk1/rh"));
    put_lp(&input, view(&aad));
    put_lp(&input, salt);
    put_lp(&input, view(&box));
    *to = (request){.seq = seq, .op = op};
    must(SHA256(input.data, input.len, to->hash) != NULL);
    char head[200];
    snprintf(head, sizeof head, "{\"v\":1,\"session_id\":\"%s\",\"seq\":%llu,\"op\":\"%s\",\"salt\":\"",
             in->id, (unsigned long long)seq, op);
    put_text(&to->body, head);
    put_b64u(&to->body, salt);
    put_text(&to->body, "\",\"box\":\"");
    put_b64u(&to->body, view(&box));
    put_text(&to->body, "\"}");
}

/* The JSON text in the reply to this very request. */
static failure open_reply(const session *in, const request *to, bytes reply, buffer *plaintext)
{
    buffer salt = {0}, box = {0}, aad = {0};
    byte key[64], nonce[16];
    if (!json_is_valid(reply) || !json_member_is(reply, "v", 1) || !json_member_is(reply, "seq", to->seq) ||
        !equals(json_inside(json_member(reply, "session_id")), in->id) ||
        !from_b64u(json_inside(json_member(reply, "salt")), &salt) ||
        !from_b64u(json_inside(json_member(reply, "box")), &box))
        return MALFORMED;
    put_associated_data(&aad, in, "dsk1/res", to->seq, to->op, to->hash);
    message_key(in, "dsk1/s2c", to->seq, view(&salt), (bytes){to->hash, 32}, key);
    nonce_of(in, to->seq, nonce);
    return open_box(in->suite, key, nonce, view(&aad), view(&box), plaintext);
}

/* ---- HTTP/1.1 over OpenSSL's BIO, one connection a request. ---- */

typedef struct {
    bool is_tls;
    char authority[256]; /* as in the URL, for the Host header */
    char host[256];      /* without port and brackets, for the certificate */
    char address[264];   /* with a port, for the connection */
    char path[256];
} server;

static bool parse_server(const char *url, server *to)
{
    *to = (server){.is_tls = strncmp(url, "https://", 8) == 0};
    if (!to->is_tls && strncmp(url, "http://", 7) != 0) return false;
    url += to->is_tls ? 8 : 7;
    size_t authority = strcspn(url, "/"), path = strlen(url) - authority;
    while (path > 0 && url[authority + path - 1] == '/') path--;
    if (authority == 0 || authority >= sizeof to->authority || path >= sizeof to->path) return false;
    for (const char *at = url; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || strchr("@?#\"", *at) != NULL) return false;
    memcpy(to->authority, url, authority);
    memcpy(to->path, url + authority, path);
    const char *host = to->authority, *bracket = strchr(host, ']');
    size_t len = *host == '[' && bracket != NULL ? (size_t)(bracket - ++host) : strcspn(host, ":");
    memcpy(to->host, host, len);
    bool has_port = strchr(bracket != NULL ? bracket : to->authority, ':') != NULL;
    const char *port = has_port ? "" : to->is_tls ? ":443" : ":80";
    snprintf(to->address, sizeof to->address, "%s%s", to->authority, port);
    return len > 0;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Whether a step that did not succeed should be tried again, once there is something to do. */
static bool wait_for(BIO *connection, long long deadline_ms)
{
    if (!BIO_should_retry(connection) || now_ms() >= deadline_ms) return false;
    struct pollfd socket = {.fd = -1, .events = BIO_should_read(connection) ? POLLIN : POLLOUT};
    BIO_get_fd(connection, &socket.fd);
    poll(&socket, 1, 100);
    return true;
}

/* The platform's certificate authorities and the server's name decide, as in a browser. */
static void verify_peer(SSL *tls, const char *host)
{
    SSL_set_verify(tls, SSL_VERIFY_PEER, NULL);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1) return;
    must(SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1);
}

static BIO *new_connection(const server *to, SSL_CTX *authorities)
{
    BIO *connection = BIO_new_connect(to->address);
    must(connection != NULL);
    BIO_set_nbio(connection, 1);
    if (!to->is_tls) return connection;
    BIO *tls = BIO_new_ssl(authorities, 1);
    SSL *state = NULL;
    must(tls != NULL && BIO_get_ssl(tls, &state) == 1);
    verify_peer(state, to->host);
    return BIO_push(tls, connection);
}

/* Looking up the server's name is not bounded by the deadline: the resolver has its own. */
static bool exchange(BIO *connection, const buffer *message, buffer *reply, long long deadline_ms)
{
    while (BIO_do_connect(connection) <= 0)
        if (!wait_for(connection, deadline_ms)) return false;
    for (size_t sent = 0; sent < message->len;) {
        int part = BIO_write(connection, message->data + sent, (int)(message->len - sent));
        if (part > 0) sent += (size_t)part;
        else if (!wait_for(connection, deadline_ms)) return false;
    }
    while (reply->len < sizeof reply->data) {
        int part = BIO_read(connection, reply->data + reply->len, (int)(sizeof reply->data - reply->len));
        if (part > 0) reply->len += (size_t)part;
        else if (!BIO_should_retry(connection)) return true;
        else if (!wait_for(connection, deadline_ms)) return false;
    }
    return true;
}

/* The line up to its CRLF, which it moves behind; of no place where there is none. */
static bytes take_line(bytes *from)
{
    for (size_t i = 0; i + 1 < from->len; i++) {
        if (from->at[i] != '\r' || from->at[i + 1] != '\n') continue;
        bytes line = {from->at, i};
        from->at += i + 2, from->len -= i + 2;
        return line;
    }
    return (bytes){NULL, 0};
}

/* The value of a header line of that name; of no place for another line. */
static bytes header(bytes line, const char *name)
{
    size_t len = strlen(name);
    if (line.len <= len || strncasecmp((const char *)line.at, name, len) != 0 || line.at[len] != ':')
        return (bytes){NULL, 0};
    bytes value = {line.at + len + 1, line.len - len - 1};
    while (value.len > 0 && (*value.at == ' ' || *value.at == '\t')) value.at++, value.len--;
    while (value.len > 0 && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t')) value.len--;
    return value;
}

/* Puts the chunks of RFC 9112 section 7.1 together. */
static bool take_chunks(bytes from, buffer *body)
{
    for (;;) {
        bytes line = take_line(&from);
        size_t size = 0, digits = 0;
        for (; digits < line.len && digits < 6; digits++) {
            const char *digit = memchr("0123456789abcdefABCDEF", line.at[digits], 22);
            if (digit == NULL) break;
            size_t value = (size_t)(digit - "0123456789abcdefABCDEF");
            size = size * 16 + (value < 16 ? value : value - 6);
        }
        if (digits == 0 || (digits < line.len && line.at[digits] != ';')) return false;
        if (size == 0) return true;
        if (from.len < size + 2 || memcmp(from.at + size, "\r\n", 2) != 0) return false;
        put(body, (bytes){from.at, size});
        from.at += size + 2, from.len -= size + 2;
    }
}

/* The status of a reply that has arrived as a whole, and its body; 0 for anything else. */
static int parse_reply(bytes raw, buffer *body)
{
    bytes line = take_line(&raw);
    if (line.len < 12 || memcmp(line.at, "HTTP/1.", 7) != 0 || line.at[8] != ' ') return 0;
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line.at[i] < '0' || line.at[i] > '9') return 0;
        status = status * 10 + (line.at[i] - '0');
    }
    bool is_chunked = false;
    uint64_t length = UINT64_MAX;
    while ((line = take_line(&raw)).len > 0) {
        bytes coding = header(line, "transfer-encoding"), size = header(line, "content-length");
        if (coding.at != NULL) {
            is_chunked = coding.len == 7 && strncasecmp((const char *)coding.at, "chunked", 7) == 0;
            if (!is_chunked) return 0;
        }
        if (size.at != NULL && !json_integer(size, &length)) return 0;
    }
    if (line.at == NULL) return 0;
    if (is_chunked) return take_chunks(raw, body) ? status : 0;
    if (length != UINT64_MAX && length != raw.len) return 0;
    put(body, raw);
    return status;
}

/* The status; 0 when no reply came in time, -1 when it is too large. */
static int post_once(const server *to, SSL_CTX *authorities, const buffer *message, buffer *body)
{
    buffer reply = {0};
    body->len = 0;
    BIO *connection = new_connection(to, authorities);
    bool has_arrived = exchange(connection, message, &reply, now_ms() + TIMEOUT_MS);
    BIO_free_all(connection);
    ERR_clear_error();
    if (reply.len == sizeof reply.data) return -1;
    int status = has_arrived ? parse_reply(view(&reply), body) : 0;
    return body->len > LARGEST_REPLY ? -1 : status;
}

/* Sends the same bytes again while nobody answers: the server does twice-sent work once. */
static failure post(const server *to, const char *path, const buffer *token, const buffer *json, int *status,
                    buffer *body)
{
    buffer message = {0};
    char head[1024];
    snprintf(head, sizeof head,
             "POST %s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n",
             to->path, path, to->authority, json->len);
    put_text(&message, head);
    if (token != NULL) {
        put_text(&message, "Authorization: Bearer ");
        put(&message, view(token));
        put_text(&message, "\r\n");
    }
    put_text(&message, "\r\n");
    put(&message, view(json));

    SSL_CTX *authorities = SSL_CTX_new(TLS_client_method());
    must(authorities != NULL && SSL_CTX_set_default_verify_paths(authorities) == 1);
    const char *waits = getenv("KUNCI_RETRY_MS");
    if (waits == NULL) waits = "1000,3000,9000";
    for (*status = 0;;) {
        *status = post_once(to, authorities, &message, body);
        if (*status != 0 && *status != 503) break;
        if (*waits == '\0') break;
        char *end;
        sleep_ms(strtol(waits, &end, 10));
        waits = *end == ',' ? end + 1 : "";
    }
    SSL_CTX_free(authorities);
    if (*status == -1) return TOO_LARGE;
    return *status == 0 || *status == 503 ? SESSION_LOST : NULL;
}

/* ---- The check ---- */

typedef struct {
    server server;
    const suite *suite;
    pin pins[MOST_PINS];
    size_t pin_count;
    hardware hardware[MOST_HARDWARE];
    size_t hardware_count;
    const char *licence, *tool;
} options;

/* Tries the pins in turn. That the server does not know a key is only a hint where to look next. */
static failure open_session(const options *with, session *to)
{
    for (size_t i = 0; i < with->pin_count; i++) {
        buffer json = {0}, body = {0};
        byte public[65];
        int status = 0;
        EVP_PKEY *ours = new_key(with->suite);
        public_key(with->suite, ours, public);
        hello(with->suite, with->pins[i].kid, public, &json);
        failure why = post(&with->server, "/v1/session", NULL, &json, &status, &body);
        if (why == NULL && status == 200) why = welcome(with->suite, &with->pins[i], ours, view(&body), to);
        EVP_PKEY_free(ours);
        if (why != NULL) return why;
        if (status == 200) {
            puts("Session key obtained");
            puts("JWT token parsed");
            puts("Using dynamic encryption keys from session");
            return NULL;
        }
        bytes error = json_is_valid(view(&body)) ? json_inside(json_member(view(&body), "error")) : text("");
        if (status != 400 || !equals(error, "kex")) return NO_SESSION;
        printf("The server does not know the key %s\n", with->pins[i].kid);
    }
    return UNKNOWN_KEY;
}

static failure call(const session *in, const server *to, const char *op, buffer *plaintext, buffer *opened)
{
    request sent;
    buffer body = {0};
    byte salt[16];
    int status;
    must(RAND_bytes(salt, sizeof salt) == 1);
    seal_request(in, 1, op, (bytes){salt, sizeof salt}, plaintext, &sent);
    failure why = post(to, "/v1/call", &in->token, &sent.body, &status, &body);
    if (why != NULL) return why;
    if (status == 401) return SESSION_LOST;
    if (status != 200) return NO_ANSWER;
    why = open_reply(in, &sent, view(&body), opened);
    if (why != NULL) return why;
    if (!json_is_valid(view(opened))) return MALFORMED;
    return equals(json_inside(json_member(view(opened), "code")), "session_expired") ? SESSION_LOST : NULL;
}

static void put_question(const options *with, buffer *json)
{
    byte nonce[16];
    must(RAND_bytes(nonce, sizeof nonce) == 1);
    put_text(json, "{\"nonce\":\"");
    put_b64u(json, (bytes){nonce, sizeof nonce});
    put_text(json, "\",\"data\":{\"licence\":\"");
    put_text(json, with->licence);
    put_text(json, "\",\"tool\":\"");
    put_text(json, with->tool);
    put_text(json, "\",\"ver\":\"" TOOL_VERSION "\",\"hwid\":");
    put_fingerprint(json, with->tool, with->hardware, with->hardware_count);
    put_text(json, "}}");
}

/* A lost session is replaced once; the nonce stays, so that the server recognises the question. */
static failure check(const options *with, buffer *opened)
{
    buffer question = {0};
    session open;
    put_question(with, &question);
    failure why = open_session(with, &open);
    if (why != NULL) return why;
    why = call(&open, &with->server, "licence.check", &question, opened);
    if (why == SESSION_LOST) {
        why = open_session(with, &open);
        if (why == NULL) why = call(&open, &with->server, "licence.check", &question, opened);
    }
    OPENSSL_cleanse(&open, sizeof open);
    return why;
}

/* What an opened reply means, as a line of JSON; what the protocol does not know means nothing. */
static int verdict(bytes opened, buffer *line)
{
    static const char *const OUTCOMES[] = {"allowed", "denied", "unavailable"};
    bytes code = json_member(opened, "code"), data = json_member(opened, "data");
    bytes support_code = json_member(data, "support_code"), word = json_inside(code);
    bool is_refusal = (word.len > 8 && memcmp(word.at, "licence_", 8) == 0) ||
                      (word.len > 7 && memcmp(word.at, "device_", 7) == 0) ||
                      (word.len > 5 && memcmp(word.at, "seat_", 5) == 0);
    int outcome = 2;
    if (json_member_is(opened, "status", 200) && equals(json_member(data, "valid"), "true")) outcome = 0;
    if (json_member_is(opened, "status", 403) && is_refusal) outcome = 1;
    put_text(line, "{\"outcome\":\"");
    put_text(line, OUTCOMES[outcome]);
    put_text(line, "\",\"code\":");
    put(line, outcome == 2 || word.at == NULL ? text("null") : code);
    put_text(line, ",\"support_code\":");
    put(line, json_inside(support_code).at == NULL ? text("null") : support_code);
    put_text(line, "}");
    return outcome;
}

/* ---- Main ---- */

static bool parse_pin(const suite *suite, const char *argument, pin *to)
{
    buffer public = {0};
    if (strspn(argument, "0123456789abcdef") != 16 || argument[16] != ':') return false;
    if (!from_b64u(text(argument + 17), &public) || public.len != suite->public) return false;
    *to = (pin){0};
    memcpy(to->kid, argument, 16);
    memcpy(to->public, public.data, public.len);
    return true;
}

/* The argument is cut in two at its equals sign. */
static bool parse_hardware(char *argument, hardware *to)
{
    char *sign = strchr(argument, '=');
    if (sign == NULL) return false;
    *sign = '\0';
    *to = (hardware){argument, sign + 1};
    char norm[129];
    if (!normalise(to->type, to->raw, norm)) printf("Left out, as it identifies no machine: %s\n", to->type);
    for (size_t i = 0; i < COMPONENT_COUNT; i++)
        if (strcmp(to->type, COMPONENTS[i]) == 0) return true;
    return false;
}

static bool consists_of(const char *argument, const char *characters, size_t most)
{
    size_t len = strlen(argument);
    return len > 0 && len <= most && strspn(argument, characters) == len;
}

/* What is wrong with the arguments. */
static failure parse_options(int argc, char **argv, options *to)
{
    const char *url = "", *suite_name = "", *pins[MOST_PINS];
    *to = (options){.licence = "", .tool = ""};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return "the last flag needs a value";
        char *flag = argv[i], *value = argv[i + 1];
        if (strcmp(flag, "--server") == 0) url = value;
        else if (strcmp(flag, "--suite") == 0) suite_name = value;
        else if (strcmp(flag, "--licence") == 0) to->licence = value;
        else if (strcmp(flag, "--tool") == 0) to->tool = value;
        else if (strcmp(flag, "--pin") == 0 && to->pin_count < MOST_PINS) pins[to->pin_count++] = value;
        else if (strcmp(flag, "--hw") == 0 && to->hardware_count < MOST_HARDWARE) {
            if (!parse_hardware(value, &to->hardware[to->hardware_count++])) return "--hw is no TYPE=VALUE";
        } else return "there is a flag too many, or an unknown one";
    }
    to->suite = strcmp(suite_name, "S1") == 0 ? &S1 : strcmp(suite_name, "S2") == 0 ? &S2 : NULL;
    if (to->suite == NULL) return "--suite: this client speaks S1 and S2";
    if (!parse_server(url, &to->server)) return "--server is no URL";
    for (size_t i = 0; i < to->pin_count; i++)
        if (!parse_pin(to->suite, pins[i], &to->pins[i])) return "--pin is no KID:PUB of the suite";
    if (!consists_of(to->tool, "abcdefghijklmnopqrstuvwxyz0123456789-", 32)) return "--tool is no tool code";
    if (!consists_of(to->licence, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789- ", 64))
        return "--licence is no licence key";
    return to->pin_count == 0 || to->hardware_count == 0 ? "--pin and --hw are needed" : NULL;
}

int main(int argc, char **argv)
{
    options given;
    failure why = parse_options(argc, argv, &given);
    if (why != NULL) {
        fprintf(stderr, "%s\nUsage: kunci_client --server URL --suite S1|S2 --pin KID:PUB [--pin KID:PUB ...]"
                        " --licence KEY --tool CODE --hw TYPE=VALUE [--hw TYPE=VALUE ...]\n", why);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    buffer opened = {0}, line = {0};
    why = check(&given, &opened);
    if (why != NULL) printf("No verdict: %s\n", why);
    bytes reply = why == NULL ? view(&opened) : text("");
    bytes message = json_member(json_member(reply, "data"), "message");
    if (message.len > 0) printf("The server says: %.*s\n", (int)message.len, (const char *)message.at);
    int outcome = verdict(reply, &line);
    printf("%.*s\n", (int)line.len, (const char *)line.data);
    return outcome;
}
