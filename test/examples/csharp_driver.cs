/*
 * What the tests of the C# client need beside it:
 *
 *   driver client OPTIONS...     the client, with P-256 in plain arithmetic: for Mono, which has none
 *   driver lines                 answers each line of stdin with a line: the client's functions
 *   driver platform VECTORS      whether the platform's own P-256 gives the published keys
 */

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Kunci.Example {

public static class Driver {
    public static int Main(string[] arguments) {
        string command = arguments.FirstOrDefault();
        if (command == "platform") return ComparePlatform(arguments[1]);
        P256.NewKeyPair = () => new PlainKeyPair(Bytes.Random(32));
        P256.Verify = PlainP256.Verify;
        if (command == "client") Leave(Program.Main(arguments.Skip(1).ToArray()));
        for (string line; (line = Console.In.ReadLine()) != null; ) Console.Out.WriteLine(Lines.Answer(line));
        return 0;
    }

    // Mono ends a program by aborting its timer thread, and reports that as a crash if it was busy just then.
    private static void Leave(int code) {
        Console.Out.Flush();
        Console.Error.Flush();
        ExitAtOnce(code);
    }

    [DllImport("libc", EntryPoint = "_exit")]
    private static extern void ExitAtOnce(int code);

    private static int ComparePlatform(string path) {
        JsonObject vectors = Json.ReadObject(File.ReadAllBytes(path)), v = vectors.Get<JsonObject>("S2");
        ECParameters own = P256.Parameters(Lines.OfHex(v.Get<string>("c_pub")));
        own.D = Lines.OfHex(v.Get<string>("client_eph_priv"));
        var keys = new PlatformKeyPair(ECDiffieHellman.Create(own));
        byte[] prk1 = keys.HmacOfSecret(Bytes.Of("dsk1/kex"), Lines.OfHex(v.Get<string>("S_pub")));
        byte[] prk2 = keys.HmacOfSecret(prk1, Lines.OfHex(v.Get<string>("s_pub")));
        string jws = vectors.Get<JsonObject>("lease").Get<string>("jws");
        byte[] signed = Bytes.Of(jws.Substring(0, jws.LastIndexOf('.')));
        byte[] signature = Bytes.OfB64u(jws.Substring(signed.Length + 1));
        byte[] leasePoint = Lines.OfHex(vectors.Get<JsonObject>("keys").Get<string>("lease_pub"));
        bool isRight = new[] {
            Says("prk1", Bytes.ToHex(prk1) == v.Get<string>("prk1")),
            Says("prk2", Bytes.ToHex(prk2) == v.Get<string>("prk2")),
            Says("the lease's signature", P256.Verify(leasePoint, signed, signature)),
            Says("no signature of other bytes", !P256.Verify(leasePoint, Bytes.Of(jws), signature)),
        }.All(each => each);
        return isRight ? 0 : 1;
    }

    private static bool Says(string what, bool isRight) {
        Console.Out.WriteLine((isRight ? "right: " : "WRONG: ") + what);
        return isRight;
    }
}

// The curve of FIPS 186-4, section D.1.2.3, by the school book's formulas: an open book to a stopwatch.
public static class PlainP256 {
    private static readonly BigInteger Prime =
        Of("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    private static readonly BigInteger Order =
        Of("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    private static readonly BigInteger B =
        Of("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
    public static readonly Point Base = new Point(
        Of("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        Of("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"), 1);

    // Jacobian coordinates: x is X / Z^2, y is Y / Z^3, and Z is zero at infinity.
    public sealed class Point {
        public readonly BigInteger X, Y, Z;

        public Point(BigInteger x, BigInteger y, BigInteger z) {
            X = Modulo(x, Prime);
            Y = Modulo(y, Prime);
            Z = Modulo(z, Prime);
        }

        public Point Normal() {
            BigInteger inverse = Inverse(Z, Prime), square = inverse * inverse % Prime;
            return new Point(X * square, Y * square % Prime * inverse, 1);
        }
    }

    private static BigInteger Of(string hex) { return NumberOf(Lines.OfHex(hex)); }

    public static BigInteger NumberOf(byte[] bytes) {
        // Not as an extension: of an array, newer compilers take another Reverse.
        return new BigInteger(Enumerable.Reverse(Bytes.Join(new byte[] { 0 }, bytes)).ToArray());
    }

    public static byte[] ToBytes(BigInteger number) {
        byte[] bytes = number.ToByteArray();
        return Enumerable.Range(0, 32).Select(i => i < bytes.Length ? bytes[i] : (byte)0).Reverse().ToArray();
    }

    public static Point PointOf(byte[] bytes) {
        ECPoint q = P256.Parameters(bytes).Q;
        BigInteger x = NumberOf(q.X), y = NumberOf(q.Y);
        if (x >= Prime || y >= Prime || Modulo(y * y - x * x * x + 3 * x - B, Prime) != 0)
            throw new Refused("not a point of the curve");
        return new Point(x, y, 1);
    }

    public static Point Multiply(BigInteger factor, Point point) {
        var sum = new Point(1, 1, 0);
        for (; factor > 0; factor >>= 1, point = Double(point)) if (!factor.IsEven) sum = Add(sum, point);
        return sum;
    }

    public static bool Verify(byte[] point, byte[] signed, byte[] signature) {
        BigInteger r = NumberOf(signature.Take(32).ToArray()), s = NumberOf(signature.Skip(32).ToArray());
        if (r < 1 || r >= Order || s < 1 || s >= Order) return false;
        BigInteger inverse = Inverse(s, Order), hash = NumberOf(Bytes.Sha256(signed));
        Point byBase = Multiply(hash * inverse % Order, Base);
        Point found = Add(byBase, Multiply(r * inverse % Order, PointOf(point)));
        return !found.Z.IsZero && Modulo(found.Normal().X - r, Order) == 0;
    }

    private static Point Double(Point a) {
        BigInteger y2 = a.Y * a.Y % Prime, z2 = a.Z * a.Z % Prime;
        BigInteger s = 4 * a.X * y2 % Prime, m = 3 * (a.X - z2) * (a.X + z2) % Prime;
        BigInteger x = (m * m - 2 * s) % Prime;
        return new Point(x, m * (s - x) - 8 * y2 * y2, 2 * a.Y * a.Z);
    }

    private static Point Add(Point a, Point b) {
        if (a.Z.IsZero) return b;
        if (b.Z.IsZero) return a;
        BigInteger az2 = a.Z * a.Z % Prime, bz2 = b.Z * b.Z % Prime;
        BigInteger ax = a.X * bz2 % Prime, ay = a.Y * bz2 % Prime * b.Z % Prime;
        BigInteger h = (b.X * az2 - ax) % Prime, r = (b.Y * az2 % Prime * a.Z - ay) % Prime;
        if (h.IsZero && r.IsZero) return Double(a);
        BigInteger h2 = h * h % Prime, h3 = h2 * h % Prime, v = ax * h2 % Prime;
        BigInteger x = (r * r - h3 - 2 * v) % Prime;
        return new Point(x, r * (v - x) - ay * h3, h * a.Z * b.Z);
    }

    private static BigInteger Modulo(BigInteger number, BigInteger modulus) {
        BigInteger rest = number % modulus;
        return rest.Sign < 0 ? rest + modulus : rest;
    }

    // Of a prime modulus.
    private static BigInteger Inverse(BigInteger number, BigInteger modulus) {
        return BigInteger.ModPow(number, modulus - 2, modulus);
    }
}

public sealed class PlainKeyPair : IKeyAgreement {
    // Remembered: the tests try a thousand answers to one and the same handshake.
    private static readonly Dictionary<Tuple<BigInteger, BigInteger, BigInteger>, PlainP256.Point> Products =
        new Dictionary<Tuple<BigInteger, BigInteger, BigInteger>, PlainP256.Point>();

    private readonly BigInteger secret;

    public PlainKeyPair(byte[] secret) { this.secret = PlainP256.NumberOf(secret); }

    public byte[] PublicPoint {
        get {
            PlainP256.Point point = Times(PlainP256.Base);
            return Bytes.Join(new byte[] { 4 }, PlainP256.ToBytes(point.X), PlainP256.ToBytes(point.Y));
        }
    }

    public byte[] Agree(byte[] peerPoint) {
        return PlainP256.ToBytes(Times(PlainP256.PointOf(peerPoint)).X);
    }

    public byte[] HmacOfSecret(byte[] hmacKey, byte[] peerPoint) {
        return Bytes.Hmac256(hmacKey, Agree(peerPoint));
    }

    public void Dispose() { }

    private PlainP256.Point Times(PlainP256.Point point) {
        var key = Tuple.Create(secret, point.X, point.Y);
        PlainP256.Point product;
        if (!Products.TryGetValue(key, out product))
            Products.Add(key, product = PlainP256.Multiply(secret, point).Normal());
        return product;
    }
}

// The secrets that are agreed, as the published vectors have them.
public sealed class KnownSecrets : IKeyAgreement {
    private readonly Dictionary<string, byte[]> secrets = new Dictionary<string, byte[]>();
    public readonly List<byte[]> Given = new List<byte[]>();

    public KnownSecrets(byte[] pinnedPoint, byte[] pinnedSecret, byte[] freshPoint, byte[] freshSecret) {
        secrets.Add(Bytes.ToHex(pinnedPoint), pinnedSecret);
        secrets.Add(Bytes.ToHex(freshPoint), freshSecret);
    }

    public byte[] PublicPoint { get { throw new NotSupportedException(); } }

    public byte[] HmacOfSecret(byte[] hmacKey, byte[] peerPoint) {
        Given.Add(Bytes.Hmac256(hmacKey, secrets[Bytes.ToHex(peerPoint)]));
        return Given.Last();
    }

    public void Dispose() { }
}

// A line is a command and its arguments in hex; so is the answer, or it is `refused`.
public static class Lines {
    public static byte[] OfHex(string hex) {
        return Enumerable.Range(0, hex.Length / 2)
            .Select(i => Convert.ToByte(hex.Substring(2 * i, 2), 16)).ToArray();
    }

    public static string Answer(string line) {
        string[] words = line.Split(' ');
        byte[][] arguments = words.Skip(1).Select(word => word == "-" ? new byte[0] : OfHex(word)).ToArray();
        try { return string.Join(" ", Answer(words[0], arguments).Select(word => Bytes.ToHex(word))); }
        catch (Refused) { return "refused"; }
    }

    private static byte[][] Answer(string command, byte[][] words) {
        string[] texts = words.Select(each => System.Text.Encoding.UTF8.GetString(each)).ToArray();
        switch (command) {
            case "fingerprint":
                return One(Json.Write(Hardware.Id(Hardware.Digests(texts[0], Pairs(texts, 1)))));
            case "public": return One(new PlainKeyPair(words[1]).PublicPoint);
            case "shared": return One(new PlainKeyPair(words[1]).Agree(words[2]));
            case "hello": return One(Dsk1.HelloRequest(new Pin(texts[1], null), words[2]));
            case "schedule": return Schedule(words, texts);
            case "welcome": return Welcome(words, texts);
            case "request": return Request(words, texts);
            case "reply": return One(Dsk1.OpenReply(SessionOf(words, texts), Asked(words, texts), words[8]));
            case "verdict": return One(Verdict.Of(Json.ReadObject(words[0])).ToString());
            case "json": return One(Json.Write(Json.ReadObject(words[0])));
            case "lease": return ReadLease(words, texts);
            case "clock": return Step(words, texts);
            default: throw new ArgumentException(command);
        }
    }

    private static byte[][] One(byte[] bytes) { return new[] { bytes }; }

    private static byte[][] One(string text) { return One(Bytes.Of(text)); }

    private static IEnumerable<KeyValuePair<string, string>> Pairs(string[] texts, int from) {
        for (int i = from; i + 1 < texts.Length; i += 2)
            yield return new KeyValuePair<string, string>(texts[i], texts[i + 1]);
    }

    private static Session SessionOf(byte[][] words, string[] texts) {
        return new Session(texts[1], words[2], words[3], texts[4]);
    }

    private static SealedRequest Asked(byte[][] words, string[] texts) {
        return new SealedRequest { Seq = long.Parse(texts[5]), Op = texts[6], Hash = words[7] };
    }

    private static byte[][] Schedule(byte[][] words, string[] texts) {
        var pin = new Pin(texts[1], words[2]);
        byte[] th = Dsk1.TranscriptHash(pin, words[3], texts[4], long.Parse(texts[5]), words[6]);
        var secrets = new KnownSecrets(pin.Point, words[7], words[6], words[8]);
        var schedule = new Schedule(th, Dsk1.ChainSecrets(secrets, pin.Point, words[6]));
        return new[] { th }.Concat(secrets.Given)
            .Concat(new[] { schedule.HelloKey, schedule.SessionKey, schedule.SessionIv }).ToArray();
    }

    private static byte[][] Welcome(byte[][] words, string[] texts) {
        var keys = new PlainKeyPair(words[3]);
        Session session = Dsk1.OpenHello(new Pin(texts[1], words[2]), keys, words[4]);
        Dsk1.CheckToken(session);
        return new[] { Bytes.Of(session.Id), session.Key, session.Iv, Bytes.Of(session.Token) };
    }

    private static byte[][] Request(byte[][] words, string[] texts) {
        SealedRequest request = Dsk1.SealRequest(
            SessionOf(words, texts), long.Parse(texts[5]), texts[6], words[7], Dsk1.Pad(texts[8]));
        return new[] { request.Body, request.Hash };
    }

    // A lease, its key's id and point, the tool, and a machine.
    private static byte[][] ReadLease(byte[][] words, string[] texts) {
        Lease lease = LeaseOf(words, texts);
        return One(lease.Fits(Hardware.Digests(texts[3], Pairs(texts, 4))) ? "fits" : "does not fit");
    }

    // A lease as above, the state of its clock, and the time by both clocks.
    private static byte[][] Step(byte[][] words, string[] texts) {
        LeaseState state = LeaseState.Read(texts[4]);
        string judgement = state.Step(LeaseOf(words, texts), long.Parse(texts[5]), long.Parse(texts[6]));
        return new[] { Bytes.Of(judgement), Bytes.Of(state.ToString()) };
    }

    private static Lease LeaseOf(byte[][] words, string[] texts) {
        return Lease.Read(texts[0], new Dictionary<string, byte[]> { { texts[1], words[2] } }, texts[3]);
    }
}

}
