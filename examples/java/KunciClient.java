/*
 * A desktop tool's licence check against a Kunci server: one file, to be read from top to bottom.
 *
 * It needs a JDK, 17 or newer, and nothing else. KID and PUB come from `kunci keys pins` on the server; a
 * real tool asks the system for the serial numbers.
 *
 *   java KunciClient.java --server https://licences.example --suite S1 --pin KID:PUB --tool demo \
 *       --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX \
 *       --hw board=PF2ABCDE --hw disk=S4EWNX0M --hw mac=3C:7C:3F:1A:2B:4C
 *
 * The last line it prints is a JSON object with the outcome:
 *
 *   allowed        exit code 0    the tool may run
 *   denied         exit code 1    the server, and nobody else, says that it may not
 *   unavailable    exit code 2    nobody who can be believed has said anything
 *
 * Wrong usage ends with 64. What it trusts: the keys it is given, and nothing else. Addresses, certificates,
 * status lines and plain JSON can keep it from an answer; they never are one. What nothing can stop: whoever
 * owns the machine can change this file. That is worth less where the reply brings what the tool cannot do
 * without. It keeps no lease: while the server is unavailable, so is the tool.
 */

import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.spec.X509EncodedKeySpec;
import java.text.Normalizer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

public final class KunciClient {
  static final String TOOL_VERSION = "1.0.0";
  static final int TIMEOUT_S = 10;
  static final String RETRY_WAITS_MS = "1000,3000,9000";
  static final int MAX_REPLY_BYTES = 64 * 1024;
  static final int MAX_BOX_BYTES = 32 * 1024;

  /** There is no answer that can be believed. */
  static class Unavailable extends Exception {
    Unavailable(String reason) {
      super(reason);
    }
  }

  /** Nor is there one in this session; in a new one there may be. */
  static final class SessionLost extends Unavailable {
    SessionLost(String reason) {
      super(reason);
    }
  }

  // --- Bytes and texts -------------------------------------------------------------------------------------

  static void need(boolean isThere, String what) {
    if (!isThere) throw new IllegalArgumentException("needed: " + what);
  }

  static byte[] join(byte[]... parts) {
    var all = new ByteArrayOutputStream();
    for (byte[] part : parts) all.writeBytes(part);
    return all.toByteArray();
  }

  static byte[] uint(long number, int size) {
    byte[] bytes = new byte[size];
    for (int i = size - 1; i >= 0; i--, number >>>= 8) bytes[i] = (byte) number;
    return bytes;
  }

  /** A field behind its length in 2 bytes: no two lists of fields look alike once they are joined. */
  static byte[] lp(byte[] field) {
    need(field.length <= 0xffff, "a field of at most 65,535 bytes");
    return join(uint(field.length, 2), field);
  }

  static byte[] lp(String field) {
    return lp(utf8(field));
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static byte[] sha256(byte[] data) throws GeneralSecurityException {
    return MessageDigest.getInstance("SHA-256").digest(data);
  }

  static byte[] hmac(String algorithm, byte[] key, byte[] data) throws GeneralSecurityException {
    Mac mac = Mac.getInstance(algorithm);
    mac.init(new SecretKeySpec(key, algorithm));
    return mac.doFinal(data);
  }

  /** HKDF-Expand with SHA-256 (RFC 5869, section 2.3). */
  static byte[] expand(byte[] key, byte[] info, int length) throws GeneralSecurityException {
    byte[] block = {};
    byte[] all = {};
    for (int i = 1; all.length < length; i++) {
      block = hmac("HmacSHA256", key, join(block, info, uint(i, 1)));
      all = join(all, block);
    }
    return Arrays.copyOf(all, length);
  }

  /** Base64url without padding (RFC 4648, section 5). */
  static String toB64u(byte[] data) {
    return Base64.getUrlEncoder().withoutPadding().encodeToString(data);
  }

  /** Refuses all but what toB64u writes: Java's decoder takes padding, and bits that belong to no byte. */
  static byte[] fromB64u(String text) {
    byte[] data = Base64.getUrlDecoder().decode(text);
    need(toB64u(data).equals(text), "base64url");
    return data;
  }

  // --- The hardware: normal form and digest ----------------------------------------------------------------

  static final Set<String> COMPONENT_TYPES = Set.of("tpm", "board", "bios", "disk", "mac", "osid", "cpu");

  /** What makers leave where a serial number should be, in normal form. */
  static final Set<String> JUNK = Set.of("""
      TOBEFILLEDBYOEM DEFAULTSTRING SYSTEMSERIALNUMBER BASEBOARDSERIALNUMBER CHASSISSERIALNUMBER
      SYSTEMMANUFACTURER SYSTEMPRODUCTNAME NOTAPPLICABLE NOTSPECIFIED NOTAVAILABLE NOTDEFINED NOTPRESENT
      UNKNOWN UNDEFINED INVALID NONE NULL EMPTY SERIAL SERIALNUMBER 0123456789 123456789 1234567890 12345678
      0123456789ABCDEF 123456789ABCDEF 03000200040005000006000700080009""".split("\\s+"));

  record Component(String type, String serial) {}

  /** A serial number as every client writes it, or null where it tells nothing about this machine. */
  static String normalForm(String type, String raw) {
    String even = Normalizer.normalize(raw, Normalizer.Form.NFKC).toUpperCase(Locale.ROOT);
    String kept = even.replaceAll("[^A-Z0-9]", "");
    String text = kept.substring(0, Math.min(kept.length(), 128));
    if (text.length() < 4 || text.chars().distinct().count() == 1 || JUNK.contains(text)) return null;
    if (!type.equals("mac")) return text;
    // Not the addresses of groups nor those that software made up, told by two bits of the first byte.
    boolean isAddress = text.matches("[0-9A-F]{12}");
    return isAddress && (Integer.parseInt(text.substring(0, 2), 16) & 0b11) == 0 ? text : null;
  }

  /** By type, 32 bytes each: serials stay here, and two tools cannot compare digests. */
  static Map<String, List<byte[]>> hardwareDigests(String tool, List<Component> serials)
      throws GeneralSecurityException {
    var forms = new TreeMap<String, TreeSet<String>>();
    for (var each : serials) {
      String form = normalForm(each.type(), each.serial());
      if (form != null) forms.computeIfAbsent(each.type(), type -> new TreeSet<>()).add(form);
    }
    var digests = new TreeMap<String, List<byte[]>>();
    for (var each : forms.entrySet()) {
      byte[] scope = join(lp("dsk1/hwid"), lp(tool), lp(each.getKey()));
      var list = new ArrayList<byte[]>();
      for (String form : each.getValue()) list.add(sha256(join(scope, lp(form))));
      digests.put(each.getKey(), list);
    }
    return digests;
  }

  /** What a request carries, its members in the order of RFC 8785. */
  static Map<String, Object> hardwareId(Map<String, List<byte[]>> digests) {
    var components = new TreeMap<String, Object>();
    digests.forEach((type, list) -> components.put(type, list.stream().map(KunciClient::toB64u).toList()));
    return object("c", components, "v", 1L);
  }

  /** 32 bytes that tell machines apart in a log. They decide nothing. */
  static byte[] fingerprint(Map<String, List<byte[]>> digests) throws GeneralSecurityException {
    return sha256(join(lp("dsk1/hwid-fp"), lp(Json.write(hardwareId(digests)))));
  }

  // --- The two suites --------------------------------------------------------------------------------------

  enum Suite {
    /** X25519 (RFC 7748) and AES-256-GCM (RFC 5116). */
    S1(1, "X25519", "X25519", "302a300506032b656e032100", 32, 32, 12) {
      @Override
      byte[] seal(byte[] key, byte[] nonce, byte[] aad, byte[] plaintext) throws GeneralSecurityException {
        return gcm(Cipher.ENCRYPT_MODE, key, nonce, aad, plaintext);
      }

      @Override
      byte[] open(byte[] key, byte[] nonce, byte[] aad, byte[] box) throws GeneralSecurityException {
        // Of a box that is shorter than a tag the JDK makes a defect of its own, a ProviderException.
        if (box.length < 16) throw new AEADBadTagException();
        return gcm(Cipher.DECRYPT_MODE, key, nonce, aad, box);
      }

      private byte[] gcm(int mode, byte[] key, byte[] nonce, byte[] aad, byte[] data)
          throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(mode, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, nonce));
        cipher.updateAAD(aad);
        return cipher.doFinal(data);
      }
    },

    /** ECDH on P-256 and A256CBC-HS512 (RFC 7518, section 5.2.5). */
    S2(2, "EC", "ECDH", "3059301306072a8648ce3d020106082a8648ce3d030107034200", 65, 64, 16) {
      @Override
      byte[] seal(byte[] key, byte[] nonce, byte[] aad, byte[] plaintext) throws GeneralSecurityException {
        byte[] ciphertext = cbc(Cipher.ENCRYPT_MODE, key, nonce, plaintext);
        return join(ciphertext, tag(key, nonce, aad, ciphertext));
      }

      /** Refuses before a block is decrypted: what the padding looks like is nobody's business. */
      @Override
      byte[] open(byte[] key, byte[] nonce, byte[] aad, byte[] box) throws GeneralSecurityException {
        int end = Math.max(0, box.length - 32);
        byte[] ciphertext = Arrays.copyOf(box, end);
        byte[] tag = Arrays.copyOfRange(box, end, box.length);
        if (!MessageDigest.isEqual(tag, tag(key, nonce, aad, ciphertext))) throw new AEADBadTagException();
        return cbc(Cipher.DECRYPT_MODE, key, nonce, ciphertext);
      }

      private byte[] cbc(int mode, byte[] key, byte[] nonce, byte[] data) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/CBC/PKCS5Padding");
        cipher.init(mode, new SecretKeySpec(key, 32, 32, "AES"), new IvParameterSpec(nonce));
        return cipher.doFinal(data);
      }

      private byte[] tag(byte[] key, byte[] nonce, byte[] aad, byte[] ciphertext)
          throws GeneralSecurityException {
        byte[] message = join(aad, nonce, ciphertext, uint(8L * aad.length, 8));
        return Arrays.copyOf(hmac("HmacSHA512", Arrays.copyOf(key, 32), message), 32);
      }
    };

    final int id;
    final String keyAlgorithm;
    final String agreement;
    /** What stands before the public key's own bytes in its X.509 form. */
    final byte[] prefix;
    final int pubBytes;
    final int keyBytes;
    final int nonceBytes;

    Suite(
        int id, String keyAlgorithm, String agreement, String prefix,
        int pubBytes, int keyBytes, int nonceBytes) {
      this.id = id;
      this.keyAlgorithm = keyAlgorithm;
      this.agreement = agreement;
      this.prefix = HexFormat.of().parseHex(prefix);
      this.pubBytes = pubBytes;
      this.keyBytes = keyBytes;
      this.nonceBytes = nonceBytes;
    }

    abstract byte[] seal(byte[] key, byte[] nonce, byte[] aad, byte[] plaintext)
        throws GeneralSecurityException;

    /** Throws where the box is not as it was sealed. */
    abstract byte[] open(byte[] key, byte[] nonce, byte[] aad, byte[] box) throws GeneralSecurityException;

    /** A key pair for one handshake. */
    KeyPair generate() throws GeneralSecurityException {
      KeyPairGenerator generator = KeyPairGenerator.getInstance(keyAlgorithm);
      if (this == S2) generator.initialize(256);
      return generator.generateKeyPair();
    }

    /** A public key as it is sent: 32 bytes, or an uncompressed point of 65. */
    byte[] encode(PublicKey key) {
      byte[] whole = key.getEncoded();
      return Arrays.copyOfRange(whole, prefix.length, whole.length);
    }

    /** The shared secret, 32 bytes. Throws for a point that is not on the curve or would make it zero. */
    byte[] agree(PrivateKey own, byte[] pub) throws GeneralSecurityException {
      need(pub.length == pubBytes && (this == S1 || pub[0] == 4), "a public key of this suite");
      var encoded = new X509EncodedKeySpec(join(prefix, pub));
      PublicKey other = KeyFactory.getInstance(keyAlgorithm).generatePublic(encoded);
      KeyAgreement both = KeyAgreement.getInstance(agreement);
      both.init(own);
      both.doPhase(other, true);
      return both.generateSecret();
    }
  }

  // --- The handshake: a session that only the holder of the pinned key can have made -----------------------

  /** A public key of the server that came with the tool, not over the network. */
  record Pin(String kid, byte[] pub) {}

  record SessionKeys(byte[] helloKey, byte[] key, byte[] iv) {}

  record Session(Suite suite, String id, byte[] key, byte[] iv, String token) {
    byte[] derive(String label) throws GeneralSecurityException {
      return expand(key, join(lp(label), uint(suite.id, 1), lp(id)), 32);
    }

    byte[] nonce(long seq) {
      byte[] nonce = iv.clone();
      byte[] count = uint(seq, nonce.length);
      for (int i = 0; i < nonce.length; i++) nonce[i] ^= count[i];
      return nonce;
    }
  }

  /** Over all that both sides know and said: who differs in one bit of it gets other keys. */
  static byte[] transcriptHash(
      Suite suite, Pin pin, byte[] clientPub, String sessionId, long expiresIn, byte[] serverPub)
      throws GeneralSecurityException {
    byte[] known = join(uint(suite.id, 1), lp(pin.kid()), lp(pin.pub()));
    byte[] said = join(lp(clientPub), lp(""), lp(sessionId), uint(expiresIn, 4), lp(serverPub));
    return sha256(join(lp("dsk1/th"), known, said));
  }

  /** The first secret proves the server; the second keeps the session when that key is stolen later. */
  static byte[][] chainSecrets(byte[] staticSecret, byte[] freshSecret) throws GeneralSecurityException {
    byte[] prk1 = hmac("HmacSHA256", utf8("dsk1/kex"), staticSecret);
    return new byte[][] {prk1, hmac("HmacSHA256", prk1, freshSecret)};
  }

  static SessionKeys sessionKeys(Suite suite, byte[] prk2, byte[] th) throws GeneralSecurityException {
    return new SessionKeys(
        expand(prk2, join(lp("dsk1/hello"), th), suite.keyBytes),
        expand(prk2, join(lp("dsk1/session_key"), th), 32),
        expand(prk2, join(lp("dsk1/session_iv"), th), suite.nonceBytes));
  }

  static byte[] helloRequest(Suite suite, Pin pin, byte[] clientPub) {
    var hello = object("v", 1L, "suite", suite.name(), "kid", pin.kid(), "pub", toB64u(clientPub), "ext", "");
    return utf8(Json.write(hello));
  }

  /** The session in the server's reply. Where it throws, nothing of the reply can be believed. */
  static Session openHello(Suite suite, Pin pin, KeyPair own, Map<String, Object> reply)
      throws GeneralSecurityException {
    expect(reply, "v", 1L);
    expect(reply, "suite", suite.name());
    expect(reply, "kid", pin.kid());
    String sessionId = member(reply, "session_id", String.class);
    long expiresIn = member(reply, "expires_in", Long.class);
    need(sessionId.matches("[0-9a-f]{64}") && expiresIn >= 1 && expiresIn <= 86400, "an answer in form");
    byte[] serverPub = fromB64u(member(reply, "pub", String.class));
    PrivateKey secret = own.getPrivate();
    byte[] prk2 = chainSecrets(suite.agree(secret, pin.pub()), suite.agree(secret, serverPub))[1];
    byte[] th = transcriptHash(suite, pin, suite.encode(own.getPublic()), sessionId, expiresIn, serverPub);
    SessionKeys keys = sessionKeys(suite, prk2, th);
    byte[] box = fromB64u(member(reply, "box", String.class));
    byte[] opened = suite.open(keys.helloKey(), new byte[suite.nonceBytes], join(lp("dsk1/hello"), th), box);
    String token = member(Json.readObject(opened), "token", String.class);
    return new Session(suite, sessionId, keys.key(), keys.iv(), token);
  }

  /** The claims of the session's token. The box it came in has proved it; its signature is for the server. */
  static Map<String, Object> readToken(Session session) {
    String[] parts = session.token().split("\\.", -1);
    need(parts.length == 3, "a token");
    var claims = Json.readObject(fromB64u(parts[1]));
    expect(claims, "sid", session.id());
    return claims;
  }

  // --- The record: a request, and the one reply that belongs to it -----------------------------------------

  record SealedRequest(long seq, String op, byte[] body, byte[] hash) {}

  /** With spaces behind it up to a multiple of 256 bytes, so that its length tells little. */
  static byte[] padded(byte[] text) {
    byte[] padded = Arrays.copyOf(text, (text.length + 255) / 256 * 256);
    Arrays.fill(padded, text.length, padded.length, (byte) ' ');
    return padded;
  }

  /** What a box is bound to without holding it. */
  static byte[] associatedData(String label, Session session, long seq, String op, byte[] hash) {
    return join(lp(label), uint(session.suite().id, 1), lp(session.id()), uint(seq, 8), lp(op), lp(hash));
  }

  /** `salt`: 16 random bytes. A `seq` serves for one plaintext and never for another. */
  static SealedRequest sealRequest(Session session, long seq, String op, byte[] plaintext, byte[] salt)
      throws GeneralSecurityException {
    byte[] tokenHash = sha256(utf8(session.token()));
    byte[] aad = associatedData("dsk1/req", session, seq, op, tokenHash);
    byte[] info = join(lp("dsk1/mk"), uint(seq, 8), lp(salt));
    byte[] key = expand(session.derive("dsk1/c2s"), info, session.suite().keyBytes);
    byte[] box = session.suite().seal(key, session.nonce(seq), aad, plaintext);
    var body = object(
        "v", 1L, "session_id", session.id(), "seq", seq, "op", op, "salt", toB64u(salt), "box", toB64u(box));
    byte[] hash = sha256(join(lp("dsk1/rh"), lp(aad), lp(salt), lp(box)));
    return new SealedRequest(seq, op, utf8(Json.write(body)), hash);
  }

  /** What the server answered to this request and to no other. Throws for anything else. */
  static byte[] openReply(Session session, SealedRequest request, Map<String, Object> reply)
      throws GeneralSecurityException {
    expect(reply, "v", 1L);
    expect(reply, "session_id", session.id());
    expect(reply, "seq", request.seq());
    byte[] salt = fromB64u(member(reply, "salt", String.class));
    byte[] box = fromB64u(member(reply, "box", String.class));
    need(salt.length == 16 && box.length <= MAX_BOX_BYTES, "a reply in form");
    byte[] info = join(lp("dsk1/mk"), uint(request.seq(), 8), lp(salt), lp(request.hash()));
    byte[] key = expand(session.derive("dsk1/s2c"), info, session.suite().keyBytes);
    byte[] aad = associatedData("dsk1/res", session, request.seq(), request.op(), request.hash());
    return session.suite().open(key, session.nonce(request.seq()), aad, box);
  }

  // --- The way there and back ------------------------------------------------------------------------------

  static final HttpClient HTTP = HttpClient.newBuilder()
      .version(HttpClient.Version.HTTP_1_1)
      .followRedirects(HttpClient.Redirect.NEVER)
      .connectTimeout(Duration.ofSeconds(TIMEOUT_S))
      .build();

  /** With at most MAX_REPLY_BYTES + 1 bytes. */
  record Answer(int status, byte[] body) {}

  static Answer post(URI url, byte[] body, String token) throws IOException, InterruptedException {
    var request = HttpRequest.newBuilder(url).POST(HttpRequest.BodyPublishers.ofByteArray(body));
    request.header("Content-Type", "application/json");
    if (token != null) request.header("Authorization", "Bearer " + token);
    var opened = HTTP.sendAsync(request.build(), HttpResponse.BodyHandlers.ofInputStream());
    var answer = opened.thenApply(response -> {
      try (var stream = response.body()) {
        return new Answer(response.statusCode(), stream.readNBytes(MAX_REPLY_BYTES + 1));
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    });
    try {
      return answer.get(TIMEOUT_S, TimeUnit.SECONDS);
    } catch (TimeoutException slow) {
      opened.cancel(true);
      throw new IOException("no reply within " + TIMEOUT_S + " s");
    } catch (ExecutionException failure) {
      throw new IOException(failure.getCause().toString());
    }
  }

  /** Sends a request, the same bytes every time, until it has a reply. */
  static Answer send(URI url, byte[] body, String token) throws Unavailable, InterruptedException {
    String told = System.getenv("KUNCI_RETRY_MS");
    String[] waits = (told == null ? RETRY_WAITS_MS : told).split(",");
    String problem = "";
    for (int tries = 0; ; tries++) {
      try {
        Answer answer = post(url, body, token);
        if (answer.body().length > MAX_REPLY_BYTES) throw new Unavailable("the reply is too long");
        if (answer.status() != 503) return answer;
        problem = "the server is busy";
      } catch (IOException error) {
        problem = error.getMessage();
      }
      if (tries == waits.length || waits[tries].isEmpty()) throw new SessionLost(problem);
      say("Trying again in " + waits[tries] + " ms: " + problem);
      Thread.sleep(Long.parseLong(waits[tries]));
    }
  }

  // --- The check -------------------------------------------------------------------------------------------

  static byte[] randomBytes() {
    byte[] bytes = new byte[16];
    new SecureRandom().nextBytes(bytes);
    return bytes;
  }

  /** A session under the first pinned key that the server has. */
  static Session shakeHands(Options options)
      throws Unavailable, GeneralSecurityException, InterruptedException {
    Suite suite = options.suite();
    for (Pin pin : options.pins()) {
      KeyPair own = suite.generate();
      byte[] hello = helloRequest(suite, pin, suite.encode(own.getPublic()));
      Answer answer = send(URI.create(options.server() + "/v1/session"), hello, null);
      try {
        var reply = Json.readObject(answer.body());
        if (answer.status() == 400 && "kex".equals(reply.get("error"))) {
          // Anybody can say this. It leads to another pinned key, and nowhere else.
          say("The server does not know the key " + pin.kid());
          continue;
        }
        if (answer.status() != 200) throw new Unavailable("no session, HTTP " + answer.status());
        Session session = openHello(suite, pin, own, reply);
        say("Session key obtained");
        readToken(session);
        say("JWT token parsed");
        return session;
      } catch (GeneralSecurityException | IllegalArgumentException refused) {
        throw new Unavailable("whoever answered does not have the pinned key");
      }
    }
    throw new Unavailable("the server has none of the pinned keys");
  }

  /** The opened reply to one operation. */
  static Map<String, Object> call(Options options, Session session, long seq, String op, byte[] plaintext)
      throws Unavailable, GeneralSecurityException, InterruptedException {
    SealedRequest request = sealRequest(session, seq, op, plaintext, randomBytes());
    Answer answer = send(URI.create(options.server() + "/v1/call"), request.body(), session.token());
    if (answer.status() == 401) throw new SessionLost("the session is not known any more");
    if (answer.status() != 200) throw new Unavailable("no sealed reply, HTTP " + answer.status());
    Map<String, Object> reply;
    try {
      reply = Json.readObject(openReply(session, request, Json.readObject(answer.body())));
    } catch (GeneralSecurityException | IllegalArgumentException refused) {
      throw new Unavailable("the reply is not the server's");
    }
    if ("session_expired".equals(reply.get("code"))) throw new SessionLost("the session has expired");
    return reply;
  }

  /** The opened reply to a check, in a second session if need be. */
  static Map<String, Object> checkLicence(Options options, Map<String, Object> data)
      throws Unavailable, GeneralSecurityException, InterruptedException {
    // Once for both: by the nonce the server knows that two sessions bring one and the same check.
    var question = object("nonce", toB64u(randomBytes()), "data", data);
    byte[] plaintext = padded(utf8(Json.write(question)));
    for (boolean isLast = false; ; isLast = true) {
      Session session = shakeHands(options);
      say("Using dynamic encryption keys from session");
      try {
        return call(options, session, 1, "licence.check", plaintext);
      } catch (SessionLost loss) {
        if (isLast) throw loss;
        say("Asking for a new session: " + loss.getMessage());
      }
    }
  }

  record Verdict(String outcome, String code, Object supportCode) {
    static final Verdict UNAVAILABLE = new Verdict("unavailable", null, null);

    String toJson() {
      return Json.write(object("outcome", outcome, "code", code, "support_code", supportCode));
    }

    int exitCode() {
      return List.of("allowed", "denied", "unavailable").indexOf(outcome);
    }
  }

  /** What an opened reply says, and only an opened one may come here. */
  static Verdict verdictOf(Map<String, Object> reply) {
    Object status = reply.get("status");
    String code = String.valueOf(reply.get("code"));
    Map<?, ?> data = reply.get("data") instanceof Map<?, ?> object ? object : Map.of();
    if (Long.valueOf(200).equals(status) && Boolean.TRUE.equals(data.get("valid")))
      return new Verdict("allowed", code, data.get("support_code"));
    if (Long.valueOf(403).equals(status) && code.matches("(licence|device|seat)_.*"))
      return new Verdict("denied", code, data.get("support_code"));
    return new Verdict("unavailable", null, data.get("support_code"));
  }

  // --- The command line ------------------------------------------------------------------------------------

  static final int WRONG_USAGE = 64;
  static final String USAGE = """
      Usage: java KunciClient.java --server URL --suite S1|S2 --pin KID:PUB [--pin KID:PUB ...]
                                   --licence KEY --tool CODE --hw TYPE=VALUE [--hw TYPE=VALUE ...]""";
  static final PrintStream OUT =
      new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

  static void say(String line) {
    OUT.println(line);
  }

  record Options(
      String server, Suite suite, List<Pin> pins, String licence, String tool, List<Component> serials) {}

  static Pin pin(Suite suite, String text) {
    String[] parts = text.split(":", -1);
    need(parts.length == 2 && parts[0].matches("[0-9a-f]{16}"), "--pin KID:PUB");
    need(fromB64u(parts[1]).length == suite.pubBytes, "--pin with a key of this suite");
    return new Pin(parts[0], fromB64u(parts[1]));
  }

  static Component component(String text) {
    String[] parts = text.split("=", 2);
    boolean isRight = parts.length == 2 && COMPONENT_TYPES.contains(parts[0]) && !parts[1].isEmpty();
    need(isRight, "--hw TYPE=VALUE with one of the types " + new TreeSet<>(COMPONENT_TYPES));
    return new Component(parts[0], parts[1]);
  }

  /** A text of this form. What it is instead is not repeated: it may be a licence key. */
  static String matching(String pattern, List<String> values, String name) {
    need(values.size() == 1 && values.get(0).matches(pattern), name + " once, and in form");
    return values.get(0);
  }

  static Options readCommandLine(String[] args) {
    var given = new TreeMap<String, List<String>>();
    for (String name : List.of("--server", "--suite", "--pin", "--licence", "--tool", "--hw"))
      given.put(name, new ArrayList<>());
    for (int i = 0; i < args.length; i += 2) {
      need(given.containsKey(args[i]), "no options but those below");
      need(i + 1 < args.length, args[i] + " with a value");
      given.get(args[i]).add(args[i + 1]);
    }
    need(!given.get("--pin").isEmpty() && !given.get("--hw").isEmpty(), "--pin and --hw, once or more");
    Suite suite = Suite.valueOf(matching("S1|S2", given.get("--suite"), "--suite"));
    return new Options(
        matching("https?://[^/@?#\\s]+[^?#\\s]*", given.get("--server"), "--server").replaceAll("/+$", ""),
        suite,
        given.get("--pin").stream().map(text -> pin(suite, text)).toList(),
        matching("[A-Za-z0-9 -]{1,64}", given.get("--licence"), "--licence"),
        matching("[a-z0-9-]{1,32}", given.get("--tool"), "--tool"),
        given.get("--hw").stream().map(KunciClient::component).toList());
  }

  static Verdict decide(Options options) throws GeneralSecurityException, InterruptedException {
    for (var each : options.serials())
      if (normalForm(each.type(), each.serial()) == null)
        say("Left out, as it identifies no machine: " + each.type());
    var digests = hardwareDigests(options.tool(), options.serials());
    say("This machine's fingerprint begins with " + HexFormat.of().formatHex(fingerprint(digests), 0, 8));
    var data = object("licence", options.licence(), "tool", options.tool(), "ver", TOOL_VERSION);
    data.put("hwid", hardwareId(digests));
    try {
      var reply = checkLicence(options, data);
      say("The server says: " + reply.get("code"));
      return verdictOf(reply);
    } catch (Unavailable reason) {
      say("No answer: " + reason.getMessage());
      return Verdict.UNAVAILABLE;
    }
  }

  static int run(String[] args) {
    Options options;
    try {
      options = readCommandLine(args);
    } catch (IllegalArgumentException mistake) {
      System.err.println(mistake.getMessage());
      System.err.println(USAGE);
      return WRONG_USAGE;
    }
    Verdict verdict;
    try {
      verdict = decide(options);
    } catch (Exception defect) { // Java itself would end with 1, which here means denied.
      say("A defect of this program: " + defect.getClass().getName());
      verdict = Verdict.UNAVAILABLE;
    }
    say(verdict.toJson());
    return verdict.exitCode();
  }

  public static void main(String[] args) {
    System.exit(run(args));
  }

  // --- JSON (RFC 8259), which the JDK has not --------------------------------------------------------------

  /** An object from names and values in turn; it keeps their order. */
  static Map<String, Object> object(Object... namesAndValues) {
    var object = new LinkedHashMap<String, Object>();
    for (int i = 0; i < namesAndValues.length; i += 2)
      object.put((String) namesAndValues[i], namesAndValues[i + 1]);
    return object;
  }

  /** A member that is there and of this type. */
  static <T> T member(Map<?, ?> object, String name, Class<T> type) {
    need(type.isInstance(object.get(name)), name);
    return type.cast(object.get(name));
  }

  static void expect(Map<?, ?> object, String name, Object value) {
    need(value.equals(object.get(name)), name + " as it was asked for");
  }

  /** Whole numbers are Long, other ones Double, null is null. */
  static final class Json {
    private static final int MAX_DEPTH = 16;
    private final String text;
    private int at = 0;

    private Json(String text) {
      this.text = text;
    }

    /** Throws IllegalArgumentException for all but one object, in UTF-8, no name in it twice. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> readObject(byte[] utf8) {
      Json json;
      try {
        json = new Json(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString());
      } catch (CharacterCodingException error) {
        throw new IllegalArgumentException("not UTF-8");
      }
      Object value = json.value(0);
      json.skipSpace();
      if (json.at < json.text.length() || !(value instanceof Map)) throw json.wrong();
      return (Map<String, Object>) value;
    }

    private IllegalArgumentException wrong() {
      return new IllegalArgumentException("not JSON at " + at);
    }

    private void skipSpace() {
      while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
    }

    /** Takes the word if it is next. */
    private boolean take(String word) {
      skipSpace();
      boolean isNext = text.startsWith(word, at);
      if (isNext) at += word.length();
      return isNext;
    }

    private void need(String word) {
      if (!take(word)) throw wrong();
    }

    private Object value(int depth) {
      if (depth > MAX_DEPTH) throw wrong();
      if (take("{")) return members(depth);
      if (take("[")) return elements(depth);
      if (take("\"")) return string();
      if (take("true")) return true;
      if (take("false")) return false;
      if (take("null")) return null;
      return number();
    }

    private Map<String, Object> members(int depth) {
      var object = new LinkedHashMap<String, Object>();
      if (take("}")) return object;
      do {
        need("\"");
        String name = string();
        need(":");
        if (object.containsKey(name)) throw wrong();
        object.put(name, value(depth + 1));
      } while (take(","));
      need("}");
      return object;
    }

    private List<Object> elements(int depth) {
      var list = new ArrayList<>();
      if (take("]")) return list;
      do list.add(value(depth + 1)); while (take(","));
      need("]");
      return list;
    }

    private char next() {
      if (at == text.length()) throw wrong();
      return text.charAt(at++);
    }

    private String string() {
      var string = new StringBuilder();
      for (char c = next(); c != '"'; c = next()) {
        if (c < ' ') throw wrong();
        string.append(c == '\\' ? escape() : c);
      }
      return string.toString();
    }

    private char escape() {
      char c = next();
      if (c == 'u') {
        if (at + 4 > text.length() || !text.substring(at, at + 4).matches("[0-9A-Fa-f]{4}")) throw wrong();
        at += 4;
        return (char) Integer.parseInt(text.substring(at - 4, at), 16);
      }
      int which = "\"\\/bfnrt".indexOf(c);
      if (which < 0) throw wrong();
      return "\"\\/\b\f\n\r\t".charAt(which);
    }

    private Object number() {
      int start = at;
      while (at < text.length() && "+-.0123456789Ee".indexOf(text.charAt(at)) >= 0) at++;
      String number = text.substring(start, at);
      if (!number.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([Ee][+-]?[0-9]+)?")) throw wrong();
      if (number.matches("-?[0-9]{1,18}")) return Long.parseLong(number);
      return Double.parseDouble(number);
    }

    static String write(Object value) {
      if (value instanceof Map<?, ?> object)
        return object.entrySet().stream()
            .map(member -> write(member.getKey()) + ":" + write(member.getValue()))
            .collect(Collectors.joining(",", "{", "}"));
      if (value instanceof List<?> list)
        return list.stream().map(Json::write).collect(Collectors.joining(",", "[", "]"));
      if (!(value instanceof String string)) return String.valueOf(value);
      var text = new StringBuilder("\"");
      for (char c : string.toCharArray())
        text.append(c == '"' || c == '\\' ? "\\" + c : c < ' ' ? String.format("\\u%04x", (int) c) : c);
      return text.append('"').toString();
    }
  }
}
