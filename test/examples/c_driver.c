/* Answers each line of stdin with a line: the functions of the C client, for the published vectors. */
#define main kunci_client_main
#include "../../examples/c/kunci_client.c"
#undef main

#include <openssl/core_names.h>
#include <openssl/param_build.h>

#define MOST_WORDS 160

typedef struct {
    size_t count;
    buffer at[MOST_WORDS];
} words;

static const suite *suite_of(const buffer *word) { return equals(view(word), "S1") ? &S1 : &S2; }

/* Words end with a NUL that is not counted, so that they are texts too. */
static const char *text_of(const buffer *word) { return (const char *)word->data; }

static uint64_t number_of(const buffer *word) { return strtoull(text_of(word), NULL, 10); }

/* A P-256 key pair from the private number alone. */
static EVP_PKEY *p256_key(const buffer *private)
{
    byte public[65];
    EVP_PKEY *key = NULL;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *number = BN_bin2bn(private->data, (int)private->len, NULL);
    must(EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1);
    must(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, public, 65, NULL) == 65);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, public, 65);
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    must(EVP_PKEY_fromdata_init(context) == 1);
    must(EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters) == 1);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_free(number);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return key;
}

static EVP_PKEY *key_of(const suite *suite, const buffer *private)
{
    if (suite == &S2) return p256_key(private);
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private->data, private->len);
}

static pin pin_of(const buffer *kid, const buffer *public)
{
    pin pin = {0};
    memcpy(pin.kid, kid->data, 16);
    memcpy(pin.public, public->data, public->len);
    return pin;
}

/* From the first five words. */
static session session_of(const words *in)
{
    session session = {.suite = suite_of(&in->at[0])};
    memcpy(session.id, in->at[1].data, 64);
    memcpy(session.key, in->at[2].data, 32);
    memcpy(session.iv, in->at[3].data, in->at[3].len);
    put(&session.token, view(&in->at[4]));
    return session;
}

static void add(words *out, const void *from, size_t len)
{
    out->at[out->count].len = 0;
    put(&out->at[out->count++], (bytes){from, len});
}

static failure answer(const char *command, words *in, words *out)
{
    const suite *suite = suite_of(&in->at[0]);
    if (strcmp(command, "fingerprint") == 0) {
        hardware list[MOST_HARDWARE];
        size_t count = 0;
        buffer json = {0};
        for (size_t i = 1; i + 1 < in->count; i += 2)
            list[count++] = (hardware){text_of(&in->at[i]), text_of(&in->at[i + 1])};
        put_fingerprint(&json, text_of(&in->at[0]), list, count);
        add(out, json.data, json.len);
    } else if (strcmp(command, "public") == 0) {
        byte public[65];
        EVP_PKEY *key = key_of(suite, &in->at[1]);
        public_key(suite, key, public);
        EVP_PKEY_free(key);
        add(out, public, suite->public);
    } else if (strcmp(command, "shared") == 0) {
        byte secret[32];
        EVP_PKEY *key = key_of(suite, &in->at[1]);
        failure why = shared_secret(suite, key, view(&in->at[2]), secret);
        EVP_PKEY_free(key);
        if (why != NULL) return why;
        add(out, secret, 32);
    } else if (strcmp(command, "hello") == 0) {
        buffer json = {0};
        hello(suite, text_of(&in->at[1]), in->at[2].data, &json);
        add(out, json.data, json.len);
    } else if (strcmp(command, "schedule") == 0) {
        pin pin = pin_of(&in->at[1], &in->at[2]);
        transcript seen = {.pin = &pin, .server_public = view(&in->at[6])};
        memcpy(seen.client_public, in->at[3].data, suite->public);
        memcpy(seen.session_id, in->at[4].data, 64);
        seen.expires_in = (uint32_t)number_of(&in->at[5]);
        keys keys;
        schedule(suite, &seen, in->at[7].data, in->at[8].data, &keys);
        add(out, keys.th, 32);
        add(out, keys.prk1, 32);
        add(out, keys.prk2, 32);
        add(out, keys.hello_key, suite->key);
        add(out, keys.session_key, 32);
        add(out, keys.session_iv, suite->nonce);
    } else if (strcmp(command, "welcome") == 0) {
        pin pin = pin_of(&in->at[1], &in->at[2]);
        session session;
        EVP_PKEY *key = key_of(suite, &in->at[3]);
        failure why = welcome(suite, &pin, key, view(&in->at[4]), &session);
        EVP_PKEY_free(key);
        if (why != NULL) return why;
        add(out, session.id, 64);
        add(out, session.key, 32);
        add(out, session.iv, suite->nonce);
        add(out, session.token.data, session.token.len);
    } else if (strcmp(command, "request") == 0) {
        session session = session_of(in);
        request sealed;
        uint64_t seq = number_of(&in->at[5]);
        seal_request(&session, seq, text_of(&in->at[6]), view(&in->at[7]), &in->at[8], &sealed);
        add(out, sealed.body.data, sealed.body.len);
        add(out, sealed.hash, 32);
    } else if (strcmp(command, "reply") == 0) {
        session session = session_of(in);
        request sent = {.seq = number_of(&in->at[5]), .op = text_of(&in->at[6])};
        memcpy(sent.hash, in->at[7].data, 32);
        buffer plaintext = {0};
        failure why = open_reply(&session, &sent, view(&in->at[8]), &plaintext);
        if (why != NULL) return why;
        add(out, plaintext.data, plaintext.len);
    } else if (strcmp(command, "verdict") == 0) {
        buffer line = {0};
        verdict(json_is_valid(view(&in->at[0])) ? view(&in->at[0]) : text(""), &line);
        add(out, line.data, line.len);
    } else if (strcmp(command, "json") == 0) {
        if (!json_is_valid(view(&in->at[0]))) return MALFORMED;
        bytes value = json_member(view(&in->at[0]), text_of(&in->at[1]));
        add(out, value.at, value.len);
    } else if (strcmp(command, "http") == 0) {
        buffer body = {0};
        char status[16];
        int number = parse_reply(view(&in->at[0]), &body);
        if (number == 0) return MALFORMED;
        add(out, status, (size_t)snprintf(status, sizeof status, "%d", number));
        add(out, body.data, body.len);
    }
    return NULL;
}

static int nibble(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

static void read_word(char *hex, buffer *word)
{
    word->len = 0;
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2)
        put_byte(word, (byte)(nibble(hex[0]) * 16 + nibble(hex[1])));
    put_byte(word, '\0');
    word->len--;
}

int main(void)
{
    static words in, out;
    static char line[4 << 20];
    while (fgets(line, sizeof line, stdin) != NULL) {
        in.count = out.count = 0;
        line[strcspn(line, "\n")] = '\0';
        const char *command = strtok(line, " ");
        for (char *word = strtok(NULL, " "); word != NULL && in.count < MOST_WORDS; word = strtok(NULL, " "))
            read_word(word, &in.at[in.count++]);
        failure why = answer(command, &in, &out);
        for (size_t i = 0; i < out.count && why == NULL; i++) {
            if (i > 0) putchar(' ');
            for (size_t j = 0; j < out.at[i].len; j++) printf("%02x", out.at[i].data[j]);
            if (out.at[i].len == 0) putchar('-');
        }
        puts(why == NULL ? "" : "refused");
        fflush(stdout);
    }
}
