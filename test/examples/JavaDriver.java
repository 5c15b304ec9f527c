import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECFieldFp;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPrivateKeySpec;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.security.spec.XECPrivateKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;

/** Answers each line of stdin with a line: the functions of the Java client, for the published vectors. */
final class JavaDriver {
  // The JDK makes no public key from a private one. Agreement with the base point does, but for Y's sign.

  static KeyPair keyPair(KunciClient.Suite suite, byte[] raw) throws GeneralSecurityException {
    return suite == KunciClient.Suite.S1 ? x25519Pair(raw) : p256Pair(new BigInteger(1, raw));
  }

  static KeyPair x25519Pair(byte[] raw) throws GeneralSecurityException {
    var suite = KunciClient.Suite.S1;
    var keys = KeyFactory.getInstance("X25519");
    PrivateKey own = keys.generatePrivate(new XECPrivateKeySpec(NamedParameterSpec.X25519, raw));
    byte[] basePoint = Arrays.copyOf(new byte[] {9}, 32);
    byte[] encoded = KunciClient.join(suite.prefix, suite.agree(own, basePoint));
    return new KeyPair(keys.generatePublic(new X509EncodedKeySpec(encoded)), own);
  }

  static KeyPair p256Pair(BigInteger secret) throws GeneralSecurityException {
    var suite = KunciClient.Suite.S2;
    var named = AlgorithmParameters.getInstance("EC");
    named.init(new ECGenParameterSpec("secp256r1"));
    var spec = named.getParameterSpec(ECParameterSpec.class);
    var keys = KeyFactory.getInstance("EC");
    PrivateKey own = keys.generatePrivate(new ECPrivateKeySpec(secret, spec));
    byte[] basePoint = suite.encode(keys.generatePublic(new ECPublicKeySpec(spec.getGenerator(), spec)));
    var x = new BigInteger(1, suite.agree(own, basePoint));
    BigInteger p = ((ECFieldFp) spec.getCurve().getField()).getP();
    BigInteger square = x.pow(3).add(spec.getCurve().getA().multiply(x)).add(spec.getCurve().getB());
    BigInteger y = square.modPow(p.add(BigInteger.ONE).shiftRight(2), p);
    for (BigInteger either : List.of(y, p.subtract(y))) {
      PublicKey pub = keys.generatePublic(new ECPublicKeySpec(new ECPoint(x, either), spec));
      if (belongTogether(own, pub)) return new KeyPair(pub, own);
    }
    throw new GeneralSecurityException("no public key");
  }

  static boolean belongTogether(PrivateKey own, PublicKey pub) throws GeneralSecurityException {
    var signature = Signature.getInstance("SHA256withECDSA");
    signature.initSign(own);
    byte[] signed = signature.sign();
    signature.initVerify(pub);
    return signature.verify(signed);
  }

  static String text(byte[] word) {
    return new String(word, StandardCharsets.UTF_8);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static KunciClient.Session session(List<byte[]> words) {
    var suite = KunciClient.Suite.valueOf(text(words.get(0)));
    return new KunciClient.Session(suite, text(words.get(1)), words.get(2), words.get(3), text(words.get(4)));
  }

  static List<byte[]> fingerprint(List<byte[]> words) throws GeneralSecurityException {
    var serials = new ArrayList<KunciClient.Component>();
    for (int i = 1; i < words.size(); i += 2)
      serials.add(new KunciClient.Component(text(words.get(i)), text(words.get(i + 1))));
    var digests = KunciClient.hardwareDigests(text(words.get(0)), serials);
    return List.of(bytes(KunciClient.Json.write(KunciClient.hardwareId(digests))));
  }

  static List<byte[]> schedule(KunciClient.Suite suite, KunciClient.Pin pin, List<byte[]> words)
      throws GeneralSecurityException {
    long expiresIn = Long.parseLong(text(words.get(5)));
    byte[] th = KunciClient.transcriptHash(
        suite, pin, words.get(3), text(words.get(4)), expiresIn, words.get(6));
    byte[][] prks = KunciClient.chainSecrets(words.get(7), words.get(8));
    var keys = KunciClient.sessionKeys(suite, prks[1], th);
    return List.of(th, prks[0], prks[1], keys.helloKey(), keys.key(), keys.iv());
  }

  static List<byte[]> answer(String command, List<byte[]> words) throws GeneralSecurityException {
    if (command.equals("fingerprint")) return fingerprint(words);
    if (command.equals("verdict"))
      return List.of(bytes(KunciClient.verdictOf(KunciClient.Json.readObject(words.get(0))).toJson()));
    var suite = KunciClient.Suite.valueOf(text(words.get(0)));
    byte[] second = words.get(1);
    var pin = words.size() < 3 ? null : new KunciClient.Pin(text(second), words.get(2));
    switch (command) {
      case "public":
        return List.of(suite.encode(keyPair(suite, second).getPublic()));
      case "shared":
        return List.of(suite.agree(keyPair(suite, second).getPrivate(), words.get(2)));
      case "hello":
        return List.of(KunciClient.helloRequest(suite, pin, words.get(2)));
      case "schedule":
        return schedule(suite, pin, words);
      case "welcome":
        var made = KunciClient.openHello(
            suite, pin, keyPair(suite, words.get(3)), KunciClient.Json.readObject(words.get(4)));
        return List.of(bytes(made.id()), made.key(), made.iv(), bytes(made.token()));
      case "request":
        var sealed = KunciClient.sealRequest(
            session(words), Long.parseLong(text(words.get(5))), text(words.get(6)),
            KunciClient.padded(words.get(8)), words.get(7));
        return List.of(sealed.body(), sealed.hash());
      case "reply":
        var asked = new KunciClient.SealedRequest(
            Long.parseLong(text(words.get(5))), text(words.get(6)), new byte[0], words.get(7));
        var reply = KunciClient.Json.readObject(words.get(8));
        return List.of(KunciClient.openReply(session(words), asked, reply));
      default:
        throw new AssertionError(command);
    }
  }

  public static void main(String[] args) throws IOException {
    var hex = HexFormat.of();
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      var words = new ArrayList<>(List.of(line.split(" ")));
      String command = words.remove(0);
      try {
        var given = words.stream().map(word -> hex.parseHex(word.equals("-") ? "" : word)).toList();
        var results = answer(command, given).stream().map(hex::formatHex);
        System.out.println(results.collect(Collectors.joining(" ")));
      } catch (GeneralSecurityException | IllegalArgumentException refused) {
        System.out.println("refused");
      }
    }
  }
}
