// Asks a Kunci server whether this machine may run a tool: the sealed protocol dsk1, suites S1 and S2.
//
// It needs Go 1.19 or later, and golang.org/x/crypto and x/text: as packages of Debian 12 (golang-go
// golang-golang-x-crypto-dev golang-golang-x-text-dev), or as modules, whose newest versions want a current Go:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build kunci_client.go
//	go mod init kunci_client && go mod tidy && go build kunci_client.go
//
//	./kunci_client --server https://licences.example --suite S1 --pin KID:PUB --tool demo \
//	    --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX \
//	    --hw board=PF2ABCDE --hw disk=S4EWNX0M123456Z --hw mac=3C:7C:3F:1A:2B:4C
//
// `kunci keys pins` prints KID and PUB; two --pin make a rotation smooth, the current one first. The last
// line of output is one JSON object, and the exit code says the same: 0 allowed, 1 denied, 2 unavailable,
// 64 wrong usage.
//
// What it trusts: the pinned public key and nothing else. A reply counts when its box opens under keys that
// only the owner of that key can derive; whatever else arrives (a status, an error, a forged reply) makes the
// check unavailable and is never a verdict. TLS hides the traffic from others; it proves nothing here.
// Whoever owns the machine can patch this program: let the tool need something that only an opened reply has.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/hkdf"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

const (
	toolVersion  = "1.0.0"
	timeout      = 10 * time.Second
	largestReply = 64 << 10
)

// A suite's sizes in bytes: of a public key, and of the key, nonce and tag of its AEAD.
type Suite struct {
	name                    string
	id                      byte
	public, key, nonce, tag int
}

var suites = map[string]*Suite{
	"S1": {"S1", 1, 32, 32, 12, 16}, // X25519, AES-256-GCM
	"S2": {"S2", 2, 65, 64, 16, 32}, // P-256, A256CBC-HS512
}

type Pin struct {
	kid    string
	public []byte
}

type Session struct {
	suite   *Suite
	id      string
	key, iv []byte
	token   string
}

// A request as it was sent, and what is needed to open its reply.
type Request struct {
	seq  uint64
	op   string
	body []byte
	hash []byte
}

// Why there is no verdict. None of them holds a secret.
var (
	errMalformed   = errors.New("the reply is malformed")
	errBox         = errors.New("the box does not open")
	errPoint       = errors.New("the key is no point of the curve")
	errTooLarge    = errors.New("the reply is too large")
	errUnknownKey  = errors.New("the server knows none of the pinned keys")
	errSessionLost = errors.New("the session has ended, or nobody answers in it")
)

// ---- Hardware: serial numbers become digests here, and only the digests leave the machine. ----

var components = []string{"bios", "board", "cpu", "disk", "mac", "osid", "tpm"}

// What makers leave in place of a serial number, from docs/PROTOCOL.md: equal on thousands of machines.
var placeholders = []string{
	"TOBEFILLEDBYOEM", "DEFAULTSTRING", "SYSTEMSERIALNUMBER", "BASEBOARDSERIALNUMBER",
	"CHASSISSERIALNUMBER", "SYSTEMMANUFACTURER", "SYSTEMPRODUCTNAME", "NOTAPPLICABLE", "NOTSPECIFIED",
	"NOTAVAILABLE", "NOTDEFINED", "NOTPRESENT", "UNKNOWN", "UNDEFINED", "INVALID", "NONE", "NULL", "EMPTY",
	"SERIAL", "SERIALNUMBER", "0123456789", "123456789", "1234567890", "12345678", "0123456789ABCDEF",
	"123456789ABCDEF", "03000200040005000006000700080009",
}

var (
	notAlphanumeric = regexp.MustCompile(`[^A-Z0-9]+`)
	// Neither multicast nor made up by software, which the lowest two bits of the first octet tell.
	macAddress = regexp.MustCompile(`^[0-9A-F][048C][0-9A-F]{10}$`)
)

func contains(list []string, text string) bool {
	for _, each := range list {
		if each == text {
			return true
		}
	}
	return false
}

// Letters and digits in upper case, at most 128 of them; "" for what identifies no machine.
func normalise(kind, raw string) string {
	text := notAlphanumeric.ReplaceAllString(cases.Upper(language.Und).String(norm.NFKC.String(raw)), "")
	if len(text) > 128 {
		text = text[:128]
	}
	if len(text) < 4 || strings.Count(text, text[:1]) == len(text) || contains(placeholders, text) {
		return ""
	}
	if kind == "mac" && !macAddress.MatchString(text) {
		return ""
	}
	return text
}

// The digest depends on the tool, so that two vendors cannot recognise one machine. 32 bytes.
func digest(tool, kind, normal string) []byte {
	hash := sha256.Sum256(join(lp("dsk1/hwid"), lp(tool), lp(kind), lp(normal)))
	return hash[:]
}

type Hardware struct{ kind, raw string }

type Fingerprint struct {
	Components map[string][]string `json:"c"`
	Version    int                 `json:"v"`
}

func fingerprint(tool string, hardware []Hardware) Fingerprint {
	normals := map[string][]string{}
	for _, each := range hardware {
		if normal := normalise(each.kind, each.raw); normal != "" && !contains(normals[each.kind], normal) {
			normals[each.kind] = append(normals[each.kind], normal)
		}
	}
	sort.Strings(normals["mac"])
	digests := map[string][]string{}
	for kind, values := range normals {
		for _, normal := range values {
			digests[kind] = append(digests[kind], toB64u(digest(tool, kind, normal)))
		}
	}
	return Fingerprint{digests, 1}
}

// ---- Bytes: encodings, key derivation, authenticated encryption. ----

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Bytes behind their length, so that no two lists of fields run together into the same bytes.
func lp[Text string | []byte](text Text) []byte {
	return append([]byte{byte(len(text) >> 8), byte(len(text))}, text...)
}

func u64(number uint64) []byte {
	text := make([]byte, 8)
	binary.BigEndian.PutUint64(text, number)
	return text
}

func toB64u(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// Refuses padding, foreign characters and spare bits that are not zero: bytes have one text form only.
func fromB64u(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || toB64u(raw) != text {
		return nil, errMalformed
	}
	return raw, nil
}

func hmac256(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

// HKDF-Expand with SHA-256, RFC 5869 section 2.3.
func expand(key, info []byte, length int) []byte {
	output := make([]byte, length)
	if _, err := io.ReadFull(hkdf.Expand(sha256.New, key, info), output); err != nil {
		panic(err) // only lengths beyond 8160 bytes
	}
	return output
}

func aesCipher(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only keys that are not of 16, 24 or 32 bytes
	}
	return block
}

func aesGcm(key []byte) cipher.AEAD {
	aead, err := cipher.NewGCM(aesCipher(key))
	if err != nil {
		panic(err) // only block ciphers that are not of 16 bytes
	}
	return aead
}

// The tag of A256CBC-HS512, RFC 7518 section 5.2.2.1; the first half of the key is for it.
func cbcTag(key, nonce, aad, ciphertext []byte) []byte {
	mac := hmac.New(sha512.New, key[:32])
	mac.Write(join(aad, nonce, ciphertext, u64(8*uint64(len(aad)))))
	return mac.Sum(nil)[:32]
}

// Encrypts and authenticates: ciphertext, then tag.
func seal(suite *Suite, key, nonce, aad, plaintext []byte) []byte {
	if suite.name == "S1" {
		return aesGcm(key).Seal(nil, nonce, plaintext, aad)
	}
	padding := aes.BlockSize - len(plaintext)%aes.BlockSize
	ciphertext := append(append([]byte{}, plaintext...), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(aesCipher(key[32:]), nonce).CryptBlocks(ciphertext, ciphertext)
	return append(ciphertext, cbcTag(key, nonce, aad, ciphertext)...)
}

// One error for every cause. In S2 nothing is decrypted before the tag is known to be right.
func open(suite *Suite, key, nonce, aad, box []byte) ([]byte, error) {
	if suite.name == "S1" {
		plaintext, err := aesGcm(key).Open(nil, nonce, box, aad)
		if err != nil {
			return nil, errBox
		}
		return plaintext, nil
	}
	size := len(box) - suite.tag
	if size < aes.BlockSize || size%aes.BlockSize != 0 {
		return nil, errBox
	}
	if subtle.ConstantTimeCompare(cbcTag(key, nonce, aad, box[:size]), box[size:]) != 1 {
		return nil, errBox
	}
	plaintext := make([]byte, size)
	cipher.NewCBCDecrypter(aesCipher(key[32:]), nonce).CryptBlocks(plaintext, box[:size])
	padding := int(plaintext[size-1])
	if padding < 1 || padding > aes.BlockSize ||
		!bytes.Equal(plaintext[size-padding:], bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, errBox
	}
	return plaintext[:size-padding], nil
}

// An object of JSON text that a stranger may have written; it may have members that are unknown here.
func decode(text []byte, into any) error {
	if json.Unmarshal(text, into) != nil {
		return errMalformed
	}
	return nil
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // only types that JSON does not have
	}
	return text
}

func random(length int) []byte {
	raw := make([]byte, length)
	if _, err := rand.Read(raw); err != nil {
		panic(err)
	}
	return raw
}

// ---- Key agreement: X25519 (RFC 7748) in S1, ECDH over P-256 in S2. ----

// A fresh private key of 32 bytes.
func newPrivateKey(suite *Suite) []byte {
	if suite.name == "S1" {
		return random(32)
	}
	private, _, _, err := elliptic.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // only a machine without random numbers
	}
	return private
}

// S1: 32 bytes. S2: the uncompressed point, 0x04, X and Y.
func publicKey(suite *Suite, private []byte) []byte {
	if suite.name == "S1" {
		public, err := curve25519.X25519(private, curve25519.Basepoint)
		if err != nil {
			panic(err) // only private keys that are not of 32 bytes
		}
		return public
	}
	x, y := elliptic.P256().ScalarBaseMult(private)
	return elliptic.Marshal(elliptic.P256(), x, y)
}

// 32 bytes. Refuses what is no point of the curve, and X25519 keys that would force an all-zero secret.
func sharedSecret(suite *Suite, private, public []byte) ([]byte, error) {
	if suite.name == "S1" {
		secret, err := curve25519.X25519(private, public)
		if err != nil {
			return nil, errPoint
		}
		return secret, nil
	}
	x, y := elliptic.Unmarshal(elliptic.P256(), public)
	if x == nil {
		return nil, errPoint
	}
	x, _ = elliptic.P256().ScalarMult(x, y, private)
	return x.FillBytes(make([]byte, 32)), nil
}

// ---- Handshake: two key agreements, one with the pinned key and one with a fresh key of the server. ----

type Hello struct {
	V     int    `json:"v"`
	Suite string `json:"suite"`
	Kid   string `json:"kid"`
	Pub   string `json:"pub"`
	Ext   string `json:"ext"`
}

func hello(suite *Suite, kid string, clientPublic []byte) []byte {
	return encode(Hello{1, suite.name, kid, toB64u(clientPublic), ""})
}

// The public form of the server's answer, which proves nothing yet.
type Welcome struct {
	V         int    `json:"v"`
	Suite     string `json:"suite"`
	Kid       string `json:"kid"`
	SessionID string `json:"session_id"`
	ExpiresIn uint32 `json:"expires_in"`
	Pub       string `json:"pub"`
	Box       string `json:"box"`
}

type Keys struct{ th, prk1, prk2, helloKey, sessionKey, sessionIV []byte }

// Every public value of the handshake goes into one hash, and that hash into every key: a side that saw other
// values has other keys.
func schedule(suite *Suite, pin Pin, clientPublic []byte, sessionID string, expiresIn uint32,
	serverPublic, ss1, ss2 []byte) Keys {
	hash := sha256.Sum256(join(lp("dsk1/th"), []byte{suite.id}, lp(pin.kid), lp(pin.public), lp(clientPublic),
		lp(""), lp(sessionID), u64(uint64(expiresIn))[4:], lp(serverPublic)))
	th := hash[:]
	prk1 := hmac256([]byte("dsk1/kex"), ss1)
	prk2 := hmac256(prk1, ss2)
	return Keys{
		th, prk1, prk2,
		expand(prk2, join(lp("dsk1/hello"), th), suite.key),
		expand(prk2, join(lp("dsk1/session_key"), th), 32),
		expand(prk2, join(lp("dsk1/session_iv"), th), suite.nonce),
	}
}

var (
	sessionIDForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	tokenForm     = regexp.MustCompile(`^[\w-]+\.([\w-]+)\.[\w-]+$`)
)

// The token is for the server; all a client may ask of it is that it belongs to this session.
func tokenBelongsTo(token, sessionID string) bool {
	parts := tokenForm.FindStringSubmatch(token)
	if parts == nil {
		return false
	}
	payload, err := fromB64u(parts[1])
	var claims struct{ Sid string }
	return err == nil && decode(payload, &claims) == nil && claims.Sid == sessionID
}

// Opens the server's answer: only the owner of the pinned key could have sealed its box.
func welcome(suite *Suite, pin Pin, clientPrivate, body []byte) (*Session, error) {
	var reply Welcome
	if err := decode(body, &reply); err != nil {
		return nil, err
	}
	serverPublic, err1 := fromB64u(reply.Pub)
	box, err2 := fromB64u(reply.Box)
	if reply.V != 1 || reply.Suite != suite.name || reply.Kid != pin.kid || reply.ExpiresIn < 1 ||
		!sessionIDForm.MatchString(reply.SessionID) || err1 != nil || err2 != nil {
		return nil, errMalformed
	}
	ss1, err1 := sharedSecret(suite, clientPrivate, pin.public)
	ss2, err2 := sharedSecret(suite, clientPrivate, serverPublic)
	if err1 != nil || err2 != nil {
		return nil, errPoint
	}
	clientPublic := publicKey(suite, clientPrivate)
	keys := schedule(suite, pin, clientPublic, reply.SessionID, reply.ExpiresIn, serverPublic, ss1, ss2)
	aad := join(lp("dsk1/hello"), keys.th)
	plaintext, err := open(suite, keys.helloKey, make([]byte, suite.nonce), aad, box)
	if err != nil {
		return nil, err
	}
	var opened struct{ Token string }
	if decode(plaintext, &opened) != nil || !tokenBelongsTo(opened.Token, reply.SessionID) {
		return nil, errMalformed
	}
	return &Session{suite, reply.SessionID, keys.sessionKey, keys.sessionIV, opened.Token}, nil
}

// ---- Records: every message has a key of its own, and a reply opens only for the request it answers. ----

type Envelope struct {
	V         int    `json:"v"`
	SessionID string `json:"session_id"`
	Seq       uint64 `json:"seq"`
	Op        string `json:"op,omitempty"`
	Salt      string `json:"salt"`
	Box       string `json:"box"`
}

// The session's IV with the sequence number XORed into its last 8 bytes.
func (session *Session) nonce(seq uint64) []byte {
	nonce := append([]byte{}, session.iv...)
	for i, octet := range u64(seq) {
		nonce[len(nonce)-8+i] ^= octet
	}
	return nonce
}

func (session *Session) messageKey(direction string, seq uint64, fields ...[]byte) []byte {
	key := expand(session.key, join(lp(direction), []byte{session.suite.id}, lp(session.id)), 32)
	return expand(key, join(lp("dsk1/mk"), u64(seq), join(fields...)), session.suite.key)
}

func (session *Session) associatedData(label string, seq uint64, op string, hash []byte) []byte {
	return join(lp(label), []byte{session.suite.id}, lp(session.id), u64(seq), lp(op), lp(hash))
}

// Spaces up to a multiple of 256 bytes, which JSON does not mind: lengths tell little.
func pad(text []byte) []byte {
	return append(append([]byte{}, text...), bytes.Repeat([]byte{' '}, (256-len(text)%256)%256)...)
}

// salt: 16 random bytes, new for every request.
func (session *Session) seal(seq uint64, op string, salt, plaintext []byte) *Request {
	tokenHash := sha256.Sum256([]byte(session.token))
	aad := session.associatedData("dsk1/req", seq, op, tokenHash[:])
	key := session.messageKey("dsk1/c2s", seq, lp(salt))
	box := seal(session.suite, key, session.nonce(seq), aad, pad(plaintext))
	hash := sha256.Sum256(join(lp("dsk1/rh"), lp(aad), lp(salt), lp(box)))
	return &Request{seq, op, encode(Envelope{1, session.id, seq, op, toB64u(salt), toB64u(box)}), hash[:]}
}

// The JSON text in the reply to this very request.
func (session *Session) open(request *Request, body []byte) ([]byte, error) {
	var reply Envelope
	if err := decode(body, &reply); err != nil {
		return nil, err
	}
	salt, err1 := fromB64u(reply.Salt)
	box, err2 := fromB64u(reply.Box)
	isOurs := reply.V == 1 && reply.SessionID == session.id && reply.Seq == request.seq
	if !isOurs || err1 != nil || err2 != nil {
		return nil, errMalformed
	}
	key := session.messageKey("dsk1/s2c", request.seq, lp(salt), lp(request.hash))
	aad := session.associatedData("dsk1/res", request.seq, request.op, request.hash)
	return open(session.suite, key, session.nonce(request.seq), aad, box)
}

// ---- HTTP ----

// How long to wait before each further try.
func retryWaits() []time.Duration {
	text, isSet := os.LookupEnv("KUNCI_RETRY_MS")
	if !isSet {
		text = "1000,3000,9000"
	}
	var waits []time.Duration
	for _, part := range strings.Split(text, ",") {
		ms, _ := strconv.Atoi(part)
		waits = append(waits, time.Duration(ms)*time.Millisecond)
	}
	return waits
}

var httpClient = &http.Client{
	Timeout:       timeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Status 0 when no reply came in time.
func postOnce(address, token string, body []byte) (status int, reply []byte, err error) {
	request, err := http.NewRequest("POST", address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(response.Body, largestReply+1))
	if len(reply) > largestReply {
		return 0, nil, errTooLarge
	}
	if err != nil {
		return 0, nil, nil
	}
	return response.StatusCode, reply, nil
}

// Sends the same bytes again while nobody answers: the server does twice-sent work once.
func post(address, token string, body []byte) (int, []byte, error) {
	for _, wait := range append([]time.Duration{0}, retryWaits()...) {
		time.Sleep(wait)
		status, reply, err := postOnce(address, token, body)
		if err != nil || (status != 0 && status != http.StatusServiceUnavailable) {
			return status, reply, err
		}
	}
	return 0, nil, errSessionLost
}

// ---- The check ----

type Options struct {
	server, licence, tool string
	suite                 *Suite
	pins                  []Pin
	hardware              []Hardware
}

// Tries the pins in turn. That the server does not know a key is only a hint where to look next.
func openSession(options *Options) (*Session, error) {
	for _, pin := range options.pins {
		private := newPrivateKey(options.suite)
		body := hello(options.suite, pin.kid, publicKey(options.suite, private))
		status, reply, err := post(options.server+"/v1/session", "", body)
		if err != nil {
			return nil, err
		}
		if status == http.StatusOK {
			session, err := welcome(options.suite, pin, private, reply)
			if err == nil {
				fmt.Println("Session key obtained")
				fmt.Println("JWT token parsed")
				fmt.Println("Using dynamic encryption keys from session")
			}
			return session, err
		}
		var plain struct{ Error string }
		if status != http.StatusBadRequest || decode(reply, &plain) != nil || plain.Error != "kex" {
			return nil, fmt.Errorf("the server opens no session (HTTP %d)", status)
		}
		fmt.Println("The server does not know the key", pin.kid)
	}
	return nil, errUnknownKey
}

// What is in an opened box.
type Reply struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Data   Answer `json:"data"`
}

type Answer struct {
	Valid       bool    `json:"valid"`
	SupportCode *string `json:"support_code"`
	Message     string  `json:"message"`
}

func parseReply(opened []byte) (*Reply, error) {
	var reply Reply
	if err := decode(opened, &reply); err != nil {
		return nil, err
	}
	return &reply, nil
}

func call(session *Session, server, op string, plaintext []byte) (*Reply, error) {
	request := session.seal(1, op, random(16), plaintext)
	status, body, err := post(server+"/v1/call", session.token, request.body)
	if err != nil {
		return nil, err
	}
	if status == http.StatusUnauthorized {
		return nil, errSessionLost
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the server does not answer the question (HTTP %d)", status)
	}
	opened, err := session.open(request, body)
	if err != nil {
		return nil, err
	}
	reply, err := parseReply(opened)
	if err == nil && reply.Code == "session_expired" {
		return nil, errSessionLost
	}
	return reply, err
}

type Question struct {
	Nonce string       `json:"nonce"`
	Data  QuestionData `json:"data"`
}

type QuestionData struct {
	Licence string      `json:"licence"`
	Tool    string      `json:"tool"`
	Ver     string      `json:"ver"`
	Hwid    Fingerprint `json:"hwid"`
}

// A lost session is replaced once; the nonce stays, so that the server recognises the question.
func check(options *Options) (*Reply, error) {
	hwid := fingerprint(options.tool, options.hardware)
	data := QuestionData{options.licence, options.tool, toolVersion, hwid}
	question := encode(Question{toB64u(random(16)), data})
	session, err := openSession(options)
	if err != nil {
		return nil, err
	}
	reply, err := call(session, options.server, "licence.check", question)
	if !errors.Is(err, errSessionLost) {
		return reply, err
	}
	if session, err = openSession(options); err != nil {
		return nil, err
	}
	return call(session, options.server, "licence.check", question)
}

type Verdict struct {
	Outcome     string  `json:"outcome"`
	Code        *string `json:"code"`
	SupportCode *string `json:"support_code"`
}

// What an opened reply means, if there is one; what the protocol does not know means nothing.
func verdict(reply *Reply) Verdict {
	if reply == nil {
		return Verdict{"unavailable", nil, nil}
	}
	isRefusal := false
	for _, prefix := range []string{"licence_", "device_", "seat_"} {
		isRefusal = isRefusal || strings.HasPrefix(reply.Code, prefix)
	}
	switch {
	case reply.Status == 200 && reply.Data.Valid:
		return Verdict{"allowed", &reply.Code, reply.Data.SupportCode}
	case reply.Status == 403 && isRefusal:
		return Verdict{"denied", &reply.Code, reply.Data.SupportCode}
	}
	return Verdict{"unavailable", nil, reply.Data.SupportCode}
}

// ---- Main ----

const usage = `Usage: kunci_client --server URL --suite S1|S2 --pin KID:PUB [--pin KID:PUB ...]
    --licence KEY --tool CODE --hw TYPE=VALUE [--hw TYPE=VALUE ...]`

// A flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func parsePin(suite *Suite, text string) (Pin, error) {
	parts := regexp.MustCompile(`^([0-9a-f]{16}):(.+)$`).FindStringSubmatch(text)
	if parts == nil {
		return Pin{}, errors.New("no pin: " + text)
	}
	public, err := fromB64u(parts[2])
	if err != nil || len(public) != suite.public {
		return Pin{}, errors.New("no key of suite " + suite.name + ": " + text)
	}
	return Pin{parts[1], public}, nil
}

func parseHardware(text string) (Hardware, error) {
	kind, raw, _ := strings.Cut(text, "=")
	if !contains(components, kind) {
		return Hardware{}, errors.New("no component: " + kind)
	}
	if normalise(kind, raw) == "" {
		fmt.Println("Left out, as it identifies no machine:", kind)
	}
	return Hardware{kind, raw}, nil
}

func parseOptions(arguments []string) (*Options, error) {
	var pins, hardware list
	flags := flag.NewFlagSet("kunci_client", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	server := flags.String("server", "", "")
	suite := flags.String("suite", "", "")
	licence := flags.String("licence", "", "")
	tool := flags.String("tool", "", "")
	flags.Var(&pins, "pin", "")
	flags.Var(&hardware, "hw", "")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	address, err := url.Parse(*server)
	switch {
	case flags.NArg() > 0:
		err = errors.New("unknown: " + flags.Arg(0))
	case err != nil || (address.Scheme != "https" && address.Scheme != "http") || address.Host == "":
		err = errors.New("--server is no URL")
	case suites[*suite] == nil:
		err = errors.New("--suite: this client speaks S1 and S2")
	case !regexp.MustCompile(`^[A-Za-z0-9 -]{1,64}$`).MatchString(*licence):
		err = errors.New("--licence is no licence key")
	case !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(*tool):
		err = errors.New("--tool is no tool code")
	case len(pins) == 0 || len(hardware) == 0:
		err = errors.New("--pin and --hw are needed")
	}
	options := &Options{
		server: strings.TrimRight(*server, "/"), licence: *licence, tool: *tool, suite: suites[*suite],
	}
	for i := 0; i < len(pins) && err == nil; i++ {
		var pin Pin
		pin, err = parsePin(options.suite, pins[i])
		options.pins = append(options.pins, pin)
	}
	for i := 0; i < len(hardware) && err == nil; i++ {
		var each Hardware
		each, err = parseHardware(hardware[i])
		options.hardware = append(options.hardware, each)
	}
	return options, err
}

func run(arguments []string) int {
	options, err := parseOptions(arguments)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s\n", err, usage)
		return 64
	}
	reply, err := check(options)
	if err != nil {
		fmt.Println("No verdict:", err)
	} else if reply.Data.Message != "" {
		fmt.Println("The server says:", reply.Data.Message)
	}
	result := verdict(reply)
	fmt.Println(string(encode(result)))
	return map[string]int{"allowed": 0, "denied": 1, "unavailable": 2}[result.Outcome]
}

func main() { os.Exit(run(os.Args[1:])) }
