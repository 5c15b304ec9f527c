<?php
/**
 * Asks a Kunci server whether this machine may run a tool: the sealed protocol dsk1, suites S1 and S2.
 *
 * It needs PHP 8.1 or later with curl, intl, openssl and sodium (Debian: php-cli php-curl php-intl).
 *
 *   php kunci_client.php --server https://licences.example --suite S1 --pin KID:PUB --tool demo \
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
 * Whoever owns the machine can patch this file: let the tool need something that only an opened reply has.
 */

declare(strict_types=1);

namespace KunciClient;

const TOOL_VERSION = '1.0.0';

/** Sizes in bytes: of a public key, and of the key, nonce and tag of the suite's AEAD. */
const SUITES = [
    'S1' => ['id' => 1, 'public' => 32, 'key' => 32, 'nonce' => 12, 'tag' => 16], // X25519, AES-256-GCM
    'S2' => ['id' => 2, 'public' => 65, 'key' => 64, 'nonce' => 16, 'tag' => 32], // P-256, A256CBC-HS512
];

const TIMEOUT_MS = 10_000;
const LARGEST_REPLY = 65_536;

/** There is no verdict. The message is for people and holds no secret. */
class Unavailable extends \Exception
{
}

/** The session has ended, or nobody answers in it: a new one may help. */
class SessionLost extends Unavailable
{
}

class WrongUsage extends \Exception
{
}

final class Session
{
    public function __construct(
        public readonly string $suite,
        public readonly string $id,
        public readonly string $key,
        public readonly string $iv,
        public readonly string $token,
    ) {
    }
}

/** A request as it was sent, and what is needed to open its reply. */
final class Request
{
    public function __construct(
        public readonly int $seq,
        public readonly string $op,
        public readonly string $body,
        public readonly string $hash,
    ) {
    }
}

// ---- Hardware: serial numbers become digests here, and only the digests leave the machine. ----

const COMPONENTS = ['bios', 'board', 'cpu', 'disk', 'mac', 'osid', 'tpm'];

/** What makers leave in place of a serial number, from docs/PROTOCOL.md: equal on thousands of machines. */
const PLACEHOLDERS = [
    'TOBEFILLEDBYOEM', 'DEFAULTSTRING', 'SYSTEMSERIALNUMBER', 'BASEBOARDSERIALNUMBER',
    'CHASSISSERIALNUMBER', 'SYSTEMMANUFACTURER', 'SYSTEMPRODUCTNAME', 'NOTAPPLICABLE', 'NOTSPECIFIED',
    'NOTAVAILABLE', 'NOTDEFINED', 'NOTPRESENT', 'UNKNOWN', 'UNDEFINED', 'INVALID', 'NONE', 'NULL', 'EMPTY',
    'SERIAL', 'SERIALNUMBER', '0123456789', '123456789', '1234567890', '12345678', '0123456789ABCDEF',
    '123456789ABCDEF', '03000200040005000006000700080009',
];

/** Letters and digits in upper case, at most 128 of them; null for what identifies no machine. */
function normalise(string $type, string $raw): ?string
{
    $upper = transliterator_transliterate('NFKC; Upper', $raw);
    if ($upper === false) return null;
    $norm = substr(preg_replace('/[^A-Z0-9]+/', '', $upper), 0, 128);
    if (strlen($norm) < 4 || strlen(count_chars($norm, 3)) === 1) return null;
    if (in_array($norm, PLACEHOLDERS, true)) return null;
    if ($type !== 'mac') return $norm;
    // Neither multicast nor made up by software, which the lowest two bits of the first octet tell.
    return preg_match('/^[0-9A-F]{12}\z/', $norm) && (hexdec($norm[1]) & 3) === 0 ? $norm : null;
}

/** The digest depends on the tool, so that two vendors cannot recognise one machine. 32 bytes. */
function digest(string $tool, string $type, string $norm): string
{
    return hash('sha256', lp('dsk1/hwid') . lp($tool) . lp($type) . lp($norm), true);
}

/** The fingerprint as JSON, from pairs of type and raw value. */
function fingerprint(string $tool, array $hardware): string
{
    $norms = [];
    foreach ($hardware as [$type, $raw]) {
        $norm = normalise($type, $raw);
        if ($norm !== null) $norms[$type][$norm] = $norm;
    }
    ksort($norms);
    if (isset($norms['mac'])) sort($norms['mac'], SORT_STRING);
    $components = new \stdClass();
    foreach ($norms as $type => $values) {
        $digests = array_map(fn ($norm) => to_b64u(digest($tool, $type, $norm)), $values);
        $components->$type = array_values($digests);
    }
    return json_encode(['c' => $components, 'v' => 1], JSON_THROW_ON_ERROR);
}

// ---- Bytes: encodings, key derivation, authenticated encryption. ----

/** Bytes behind their length, so that no two lists of fields run together into the same bytes. */
function lp(string $bytes): string
{
    return pack('n', strlen($bytes)) . $bytes;
}

function to_b64u(string $bytes): string
{
    return sodium_bin2base64($bytes, SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING);
}

/** Refuses padding, foreign characters and spare bits that are not zero: bytes have one text form only. */
function from_b64u(mixed $text): string
{
    try {
        return sodium_base642bin(is_string($text) ? $text : '=', SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING);
    } catch (\SodiumException) {
        throw new Unavailable('the reply is malformed');
    }
}

function hmac256(string $key, string $message): string
{
    return hash_hmac('sha256', $message, $key, true);
}

/** HKDF-Expand with SHA-256, RFC 5869 section 2.3. PHP's own hash_hkdf would extract first. */
function expand(string $key, string $info, int $length): string
{
    $output = $block = '';
    for ($counter = 1; strlen($output) < $length; $counter++) {
        $block = hmac256($key, $block . $info . chr($counter));
        $output .= $block;
    }
    return substr($output, 0, $length);
}

/** The tag of A256CBC-HS512, RFC 7518 section 5.2.2.1; the first half of the key is for it. */
function cbc_tag(string $key, string $nonce, string $aad, string $ciphertext): string
{
    $message = $aad . $nonce . $ciphertext . pack('J', 8 * strlen($aad));
    return substr(hash_hmac('sha512', $message, substr($key, 0, 32), true), 0, 32);
}

/** Encrypts and authenticates: ciphertext, then tag. */
function seal(string $suite, string $key, string $nonce, string $aad, string $plaintext): string
{
    if ($suite === 'S1') {
        $sealed = openssl_encrypt($plaintext, 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $nonce, $tag, $aad, 16);
        return $sealed . $tag;
    }
    $ciphertext = openssl_encrypt($plaintext, 'aes-256-cbc', substr($key, 32), OPENSSL_RAW_DATA, $nonce);
    return $ciphertext . cbc_tag($key, $nonce, $aad, $ciphertext);
}

/** One error for every cause. In S2 nothing is decrypted before the tag is known to be right. */
function open(string $suite, string $key, string $nonce, string $aad, string $box): string
{
    $size = strlen($box) - SUITES[$suite]['tag'];
    if ($size < 0) throw new Unavailable('the box does not open');
    $ciphertext = substr($box, 0, $size);
    $tag = substr($box, $size);
    if ($suite === 'S1') {
        $plaintext = openssl_decrypt($ciphertext, 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $nonce, $tag, $aad);
    } elseif (hash_equals(cbc_tag($key, $nonce, $aad, $ciphertext), $tag)) {
        $plaintext = openssl_decrypt($ciphertext, 'aes-256-cbc', substr($key, 32), OPENSSL_RAW_DATA, $nonce);
    } else {
        $plaintext = false;
    }
    return $plaintext === false ? throw new Unavailable('the box does not open') : $plaintext;
}

/** An object of JSON text that a stranger may have written. */
function decode(string $json): array
{
    $value = json_decode($json, true, 16);
    return is_array($value) ? $value : throw new Unavailable('the reply is malformed');
}

// ---- Key agreement: X25519 (RFC 7748) in S1, ECDH over P-256 in S2. ----

/** The key pair of a private number, or a fresh one. */
function p256_key(?string $private): \OpenSSLAsymmetricKey
{
    $curve = ['curve_name' => 'prime256v1'];
    if ($private !== null) return openssl_pkey_new(['ec' => $curve + ['d' => $private]]);
    return openssl_pkey_new($curve + ['private_key_type' => OPENSSL_KEYTYPE_EC]);
}

/** A number of the key as 32 bytes; OpenSSL leaves zeros at the front out. */
function p256_number(\OpenSSLAsymmetricKey $key, string $name): string
{
    return str_pad(openssl_pkey_get_details($key)['ec'][$name], 32, "\0", STR_PAD_LEFT);
}

/** A fresh private key of 32 bytes. */
function new_private_key(string $suite): string
{
    return $suite === 'S1' ? random_bytes(32) : p256_number(p256_key(null), 'd');
}

/** S1: 32 bytes. S2: the uncompressed point, 0x04, X and Y. */
function public_key(string $suite, string $private): string
{
    if ($suite === 'S1') return sodium_crypto_scalarmult_base($private);
    $key = p256_key($private);
    return "\4" . p256_number($key, 'x') . p256_number($key, 'y');
}

/** 32 bytes. Refuses what is no point of the curve, and X25519 keys that would force an all-zero secret. */
function shared_secret(string $suite, string $private, string $public): string
{
    $failure = new Unavailable('the key is no point of the curve');
    if (strlen($public) !== SUITES[$suite]['public']) throw $failure;
    if ($suite === 'S1') {
        try {
            return sodium_crypto_scalarmult($private, $public);
        } catch (\SodiumException) {
            throw $failure;
        }
    }
    // SubjectPublicKeyInfo of a P-256 key (RFC 5480), up to the point.
    $der = hex2bin('3059301306072a8648ce3d020106082a8648ce3d030107034200') . $public;
    $lines = chunk_split(base64_encode($der), 64, "\n");
    $pem = "-----BEGIN PUBLIC KEY-----\n$lines-----END PUBLIC KEY-----\n";
    $key = $public[0] === "\4" ? openssl_pkey_get_public($pem) : false;
    if ($key === false) throw $failure;
    return openssl_pkey_derive($key, p256_key($private));
}

// ---- Handshake: two key agreements, one with the pinned key and one with a fresh key of the server. ----

function hello(string $suite, string $kid, string $client_public): string
{
    $fields = ['v' => 1, 'suite' => $suite, 'kid' => $kid, 'pub' => to_b64u($client_public), 'ext' => ''];
    return json_encode($fields, JSON_THROW_ON_ERROR);
}

/**
 * Every public value of the handshake goes into one hash, and that hash into every key: a side that saw other
 * values has other keys.
 */
function schedule(
    string $suite,
    array $pin,
    string $client_public,
    array $welcome,
    string $ss1,
    string $ss2,
): array {
    ['key' => $key_size, 'nonce' => $nonce_size] = SUITES[$suite];
    $th = hash('sha256', lp('dsk1/th') . chr(SUITES[$suite]['id']) . lp($pin['kid']) . lp($pin['public'])
        . lp($client_public) . lp('') . lp($welcome['session_id']) . pack('N', $welcome['expires_in'])
        . lp($welcome['public']), true);
    $prk1 = hmac256('dsk1/kex', $ss1);
    $prk2 = hmac256($prk1, $ss2);
    return [
        'th' => $th,
        'prk1' => $prk1,
        'prk2' => $prk2,
        'hello_key' => expand($prk2, lp('dsk1/hello') . $th, $key_size),
        'session_key' => expand($prk2, lp('dsk1/session_key') . $th, 32),
        'session_iv' => expand($prk2, lp('dsk1/session_iv') . $th, $nonce_size),
    ];
}

/** The public form of the server's answer, which proves nothing yet. */
function parse_welcome(string $suite, string $kid, string $body): array
{
    $reply = decode($body);
    $expires_in = $reply['expires_in'] ?? null;
    $session_id = $reply['session_id'] ?? null;
    if (($reply['v'] ?? null) !== 1
        || ($reply['suite'] ?? null) !== $suite || ($reply['kid'] ?? null) !== $kid
        || !is_int($expires_in) || $expires_in < 1 || $expires_in > 0xffffffff
        || !is_string($session_id) || !preg_match('/^[0-9a-f]{64}\z/', $session_id)) {
        throw new Unavailable('the reply is malformed');
    }
    return [
        'session_id' => $session_id,
        'expires_in' => $expires_in,
        'public' => from_b64u($reply['pub'] ?? null),
        'box' => from_b64u($reply['box'] ?? null),
    ];
}

/** The token is for the server; all a client may ask of it is that it belongs to this session. */
function token_belongs_to(mixed $token, string $session_id): bool
{
    if (!is_string($token) || !preg_match('/^[\w-]+\.([\w-]+)\.[\w-]+\z/', $token, $parts)) return false;
    return (decode(from_b64u($parts[1]))['sid'] ?? null) === $session_id;
}

/** Opens the server's answer: only the owner of the pinned key could have sealed its box. */
function welcome(string $suite, array $pin, string $client_private, string $body): Session
{
    $welcome = parse_welcome($suite, $pin['kid'], $body);
    $ss1 = shared_secret($suite, $client_private, $pin['public']);
    $ss2 = shared_secret($suite, $client_private, $welcome['public']);
    $keys = schedule($suite, $pin, public_key($suite, $client_private), $welcome, $ss1, $ss2);
    $nonce = str_repeat("\0", SUITES[$suite]['nonce']);
    $opened = open($suite, $keys['hello_key'], $nonce, lp('dsk1/hello') . $keys['th'], $welcome['box']);
    $token = decode($opened)['token'] ?? null;
    if (!token_belongs_to($token, $welcome['session_id'])) throw new Unavailable('the token is malformed');
    return new Session($suite, $welcome['session_id'], $keys['session_key'], $keys['session_iv'], $token);
}

// ---- Records: every message has a key of its own, and a reply opens only for the request it answers. ----

/** The session's IV with the sequence number XORed into its last 8 bytes. */
function nonce(Session $session, int $seq): string
{
    return $session->iv ^ str_pad(pack('J', $seq), strlen($session->iv), "\0", STR_PAD_LEFT);
}

function message_key(Session $session, string $direction, int $seq, string ...$fields): string
{
    $suite = SUITES[$session->suite];
    $key = expand($session->key, lp($direction) . chr($suite['id']) . lp($session->id), 32);
    $info = lp('dsk1/mk') . pack('J', $seq) . implode('', array_map(lp(...), $fields));
    return expand($key, $info, $suite['key']);
}

function associated_data(Session $session, string $label, int $seq, string $op, string $hash): string
{
    $suite_id = chr(SUITES[$session->suite]['id']);
    return lp($label) . $suite_id . lp($session->id) . pack('J', $seq) . lp($op) . lp($hash);
}

/** Spaces up to a multiple of 256 bytes, which JSON does not mind: lengths tell little. */
function pad(string $json): string
{
    return str_pad($json, 256 * intdiv(strlen($json) + 255, 256));
}

/** @param string $salt 16 random bytes, new for every request. */
function seal_request(Session $session, int $seq, string $op, string $salt, string $plaintext): Request
{
    $token_hash = hash('sha256', $session->token, true);
    $aad = associated_data($session, 'dsk1/req', $seq, $op, $token_hash);
    $key = message_key($session, 'dsk1/c2s', $seq, $salt);
    $box = seal($session->suite, $key, nonce($session, $seq), $aad, pad($plaintext));
    $fields = ['v' => 1, 'session_id' => $session->id, 'seq' => $seq, 'op' => $op,
        'salt' => to_b64u($salt), 'box' => to_b64u($box)];
    $hash = hash('sha256', lp('dsk1/rh') . lp($aad) . lp($salt) . lp($box), true);
    return new Request($seq, $op, json_encode($fields, JSON_THROW_ON_ERROR), $hash);
}

/** The JSON text in the reply to this very request. */
function open_reply(Session $session, Request $request, string $body): string
{
    $reply = decode($body);
    if (($reply['v'] ?? null) !== 1 || ($reply['session_id'] ?? null) !== $session->id
        || ($reply['seq'] ?? null) !== $request->seq) {
        throw new Unavailable('the reply is malformed');
    }
    $salt = from_b64u($reply['salt'] ?? null);
    $box = from_b64u($reply['box'] ?? null);
    $key = message_key($session, 'dsk1/s2c', $request->seq, $salt, $request->hash);
    $aad = associated_data($session, 'dsk1/res', $request->seq, $request->op, $request->hash);
    return open($session->suite, $key, nonce($session, $request->seq), $aad, $box);
}

// ---- HTTP ----

/** @return int[] how long to wait before each further try, in milliseconds. */
function retry_waits(): array
{
    $waits = getenv('KUNCI_RETRY_MS');
    return array_map(intval(...), explode(',', $waits === false ? '1000,3000,9000' : $waits));
}

/** @return ?array{int, string} status and body; null when no reply came in time. */
function post_once(string $url, array $headers, string $body): ?array
{
    $reply = '';
    $take = function ($curl, string $part) use (&$reply): int {
        $reply .= $part;
        return strlen($reply) > LARGEST_REPLY ? 0 : strlen($part);
    };
    $curl = curl_init();
    curl_setopt_array($curl, [
        CURLOPT_URL => $url,
        CURLOPT_FOLLOWLOCATION => false,
        CURLOPT_POSTFIELDS => $body,
        CURLOPT_HTTPHEADER => ['Content-Type: application/json', ...$headers],
        CURLOPT_TIMEOUT_MS => TIMEOUT_MS,
        CURLOPT_WRITEFUNCTION => $take,
    ]);
    $arrived = curl_exec($curl);
    if (strlen($reply) > LARGEST_REPLY) throw new Unavailable('the reply is too large');
    return $arrived ? [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $reply] : null;
}

/** Sends the same bytes again while nobody answers: the server does twice-sent work once. */
function post(string $url, array $headers, string $body): array
{
    foreach ([0, ...retry_waits()] as $wait_ms) {
        usleep($wait_ms * 1000);
        $reply = post_once($url, $headers, $body);
        if ($reply !== null && $reply[0] !== 503) return $reply;
    }
    throw new SessionLost('no answer from the server');
}

// ---- The check ----

function say(string $line): void
{
    echo $line, "\n";
}

/** Tries the pins in turn. That the server does not know a key is only a hint where to look next. */
function open_session(array $options): Session
{
    $suite = $options['suite'];
    foreach ($options['pins'] as $pin) {
        $private = new_private_key($suite);
        $body = hello($suite, $pin['kid'], public_key($suite, $private));
        [$status, $reply] = post("{$options['server']}/v1/session", [], $body);
        if ($status === 200) {
            $session = welcome($suite, $pin, $private, $reply);
            say('Session key obtained');
            say('JWT token parsed');
            say('Using dynamic encryption keys from session');
            return $session;
        }
        if ($status !== 400 || (decode($reply)['error'] ?? null) !== 'kex') {
            throw new Unavailable("the server opens no session (HTTP $status)");
        }
        say("The server does not know the key {$pin['kid']}");
    }
    throw new Unavailable('the server knows none of the pinned keys');
}

/** @return array{status: int, code: string, data: array} what was in the opened box. */
function call(Session $session, string $server, string $op, string $plaintext): array
{
    $request = seal_request($session, 1, $op, random_bytes(16), $plaintext);
    [$status, $body] = post("$server/v1/call", ["Authorization: Bearer {$session->token}"], $request->body);
    if ($status === 401) throw new SessionLost('the server does not take the session');
    if ($status !== 200) throw new Unavailable("the server does not answer the question (HTTP $status)");
    $reply = decode(open_reply($session, $request, $body));
    if (($reply['code'] ?? null) === 'session_expired') throw new SessionLost('the session has expired');
    return $reply;
}

/** A lost session is replaced once; the nonce stays, so that the server recognises the question. */
function check(array $options): array
{
    $question = json_encode([
        'nonce' => to_b64u(random_bytes(16)),
        'data' => [
            'licence' => $options['licence'],
            'tool' => $options['tool'],
            'ver' => TOOL_VERSION,
            'hwid' => json_decode(fingerprint($options['tool'], $options['hardware'])),
        ],
    ], JSON_THROW_ON_ERROR);
    $session = open_session($options);
    try {
        return call($session, $options['server'], 'licence.check', $question);
    } catch (SessionLost) {
        return call(open_session($options), $options['server'], 'licence.check', $question);
    }
}

/** What an opened reply means; what the protocol does not know means nothing. */
function verdict(array $reply): array
{
    $status = $reply['status'] ?? null;
    $code = is_string($reply['code'] ?? null) ? $reply['code'] : '';
    $data = is_array($reply['data'] ?? null) ? $reply['data'] : [];
    $support_code = is_string($data['support_code'] ?? null) ? $data['support_code'] : null;
    $outcome = match (true) {
        $status === 200 && ($data['valid'] ?? null) === true => 'allowed',
        $status === 403 && preg_match('/^(licence|device|seat)_/', $code) === 1 => 'denied',
        default => 'unavailable',
    };
    if ($outcome === 'unavailable') $code = null;
    return ['outcome' => $outcome, 'code' => $code, 'support_code' => $support_code];
}

// ---- Main ----

const USAGE = 'Usage: php kunci_client.php --server URL --suite S1|S2 --pin KID:PUB [--pin KID:PUB ...]'
    . ' --licence KEY --tool CODE --hw TYPE=VALUE [--hw TYPE=VALUE ...]';

function parse_pin(string $suite, string $text): array
{
    try {
        [$kid, $public] = [substr($text, 0, 16), from_b64u(substr($text, 17))];
    } catch (Unavailable) {
        $public = '';
    }
    if (!preg_match('/^[0-9a-f]{16}:/', $text) || strlen($public) !== SUITES[$suite]['public']) {
        throw new WrongUsage("no key of suite $suite: $text");
    }
    return ['kid' => $kid, 'public' => $public];
}

function parse_hardware(string $text): array
{
    [$type, $value] = [...explode('=', $text, 2), ''];
    if (!in_array($type, COMPONENTS, true)) throw new WrongUsage("no component: $type");
    if (normalise($type, $value) === null) say("Left out, as it identifies no machine: $type");
    return [$type, $value];
}

function parse_options(array $arguments): array
{
    $given = ['pin' => [], 'hw' => []];
    foreach (array_chunk($arguments, 2) as [$flag, $value]) {
        if (!is_string($value ?? null)) throw new WrongUsage("$flag needs a value");
        match ($flag) {
            '--pin', '--hw' => $given[substr($flag, 2)][] = $value,
            '--server', '--suite', '--licence', '--tool' => $given[substr($flag, 2)] = $value,
            default => throw new WrongUsage("unknown: $flag"),
        };
    }
    foreach (['server', 'suite', 'licence', 'tool', 'pin', 'hw'] as $name) {
        if (empty($given[$name])) throw new WrongUsage("--$name is missing");
    }
    if (!isset(SUITES[$given['suite']])) throw new WrongUsage('this client speaks S1 and S2');
    if (!preg_match('~^https?://[^/@?#\s]+[^?#\s]*\z~', $given['server'])) {
        throw new WrongUsage('--server is no URL');
    }
    if (!preg_match('/^[A-Za-z0-9 -]{1,64}\z/', $given['licence'])) {
        throw new WrongUsage('--licence is no licence key');
    }
    if (!preg_match('/^[a-z0-9-]{1,32}\z/', $given['tool'])) throw new WrongUsage('--tool is no tool code');
    return [
        'server' => rtrim($given['server'], '/'),
        'suite' => $given['suite'],
        'licence' => $given['licence'],
        'tool' => $given['tool'],
        'pins' => array_map(fn ($text) => parse_pin($given['suite'], $text), $given['pin']),
        'hardware' => array_map(parse_hardware(...), $given['hw']),
    ];
}

function main(array $arguments): int
{
    try {
        $options = parse_options($arguments);
        $reply = check($options);
        if (is_string($reply['data']['message'] ?? null)) say("The server says: {$reply['data']['message']}");
        $verdict = verdict($reply);
    } catch (WrongUsage $error) {
        fwrite(STDERR, "{$error->getMessage()}\n" . USAGE . "\n");
        return 64;
    } catch (Unavailable $error) {
        say("No verdict: {$error->getMessage()}");
        $verdict = verdict([]);
    }
    say(json_encode($verdict, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
    return ['allowed' => 0, 'denied' => 1, 'unavailable' => 2][$verdict['outcome']];
}

if (get_included_files()[0] === __FILE__) exit(main(array_slice($argv, 1)));
