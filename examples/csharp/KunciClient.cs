/*
 * A desktop tool's licence check against a Kunci server: one file, to be read from top to bottom.
 *
 * It speaks suite S2 of the protocol dsk1, which needs nothing but the class library of .NET Framework 4.7.2.
 * That is part of Windows 10 since 2018 and of Windows 11, and so is a compiler for it:
 *
 *   set CSC=%WINDIR%\Microsoft.NET\Framework64\v4.0.30319\csc
 *   set LIBS=/r:System.Net.Http.dll /r:System.Management.dll /r:System.Security.dll /r:System.Numerics.dll
 *   %CSC% %LIBS% KunciClient.cs
 *   KunciClient --server https://licences.example --suite S2 --pin KID:PUB --tool demo ^
 *       --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX --lease demo.lease --lease-key KID:X:Y
 *
 * Today's .NET needs two packages for it: System.Management and System.Security.Cryptography.ProtectedData.
 * KID, PUB, X and Y come from `kunci keys pins` on the server; a second --pin is for the time of a key
 * rotation. The hardware is read by WMI, or named with --hw TYPE=VALUE. With --lease and --lease-key the
 * signed lease of the last good check is kept, and lived on while the server is unavailable. The last line
 * of output is a JSON object with the outcome:
 *
 *   allowed        exit code 0    the tool may run
 *   denied         exit code 1    the server, and nobody else, says that it may not
 *   unavailable    exit code 2    nobody who can be believed has said anything
 *
 * Wrong usage ends with 64. What it trusts: the keys it is given, and nothing else. Addresses, certificates,
 * status lines and plain JSON can keep it from an answer; they never are one. What nothing can stop: whoever
 * owns the machine can change this program. That is worth less where the reply brings something the tool
 * cannot work without.
 *
 * NOT YET RUN ON WINDOWS. The tests compile this file and run it under Mono, where all of it is tried but
 * the parts that are Windows: P-256 by CNG (the tests put plain arithmetic in its place), DPAPI (Mono's own
 * is used) and WMI. By hand it was also run on .NET 9 for Linux, with the P-256 of OpenSSL and no lease. On
 * Windows, see first whether CNG gives the keys of the published vectors, from the top of the repository:
 *
 *   %CSC% %LIBS% /main:Kunci.Example.Driver /out:check.exe examples\csharp\*.cs test\examples\*.cs
 *   check platform test\vectors\dsk1.json
 */

using System;
using System.Collections;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Management;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32;

namespace Kunci.Example {

// What came is not what the server writes. To the outside every cause of it looks the same.
public sealed class Refused : Exception { public Refused(string what) : base(what) { } }

// There is no answer that can be believed.
public class Unavailable : Exception { public Unavailable(string why) : base(why) { } }

// Nor is there one in this session; in a new one there may be.
public sealed class SessionLost : Unavailable { public SessionLost(string why) : base(why) { } }

// --- Bytes -------------------------------------------------------------------------------------------------

public static class Bytes {
    private static readonly Encoding StrictUtf8 = new UTF8Encoding(false, true);

    public static byte[] Of(string text) { return StrictUtf8.GetBytes(text); }

    public static string ToText(byte[] utf8) {
        try { return StrictUtf8.GetString(utf8); }
        catch (ArgumentException) { throw new Refused("not UTF-8"); }
    }

    public static byte[] Join(params byte[][] parts) { return parts.SelectMany(part => part).ToArray(); }

    // Big-endian.
    public static byte[] OfNumber(long number, int size) {
        var bytes = new byte[size];
        for (int i = size - 1; i >= 0; i--, number >>= 8) bytes[i] = (byte)number;
        return bytes;
    }

    // A field behind its length in 2 bytes: no two lists of fields look alike once joined.
    public static byte[] Lp(byte[] field) {
        if (field.Length > 0xffff) throw new ArgumentException("longer than 65,535 bytes");
        return Join(OfNumber(field.Length, 2), field);
    }

    public static byte[] Lp(string text) { return Lp(Of(text)); }

    public static byte[] Random(int size) {
        var bytes = new byte[size];
        using (var source = RandomNumberGenerator.Create()) source.GetBytes(bytes);
        return bytes;
    }

    public static byte[] Sha256(byte[] data) {
        using (var hash = SHA256.Create()) return hash.ComputeHash(data);
    }

    public static byte[] Hmac256(byte[] key, byte[] data) {
        using (var hmac = new HMACSHA256(key)) return hmac.ComputeHash(data);
    }

    // HKDF-Expand with SHA-256 (RFC 5869, section 2.3).
    public static byte[] Expand(byte[] key, byte[] info, int length) {
        byte[] output = { }, block = { };
        for (byte counter = 1; output.Length < length; counter++) {
            block = Hmac256(key, Join(block, info, new[] { counter }));
            output = Join(output, block);
        }
        return output.Take(length).ToArray();
    }

    // In a time that does not depend on where they differ.
    public static bool AreEqual(byte[] a, byte[] b) {
        int difference = a.Length ^ b.Length;
        for (int i = 0; i < a.Length && i < b.Length; i++) difference |= a[i] ^ b[i];
        return difference == 0;
    }

    public static string ToHex(byte[] bytes) {
        return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
    }

    // Base64url without padding (RFC 4648, section 5).
    public static string ToB64u(byte[] bytes) {
        return Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    // Of what ToB64u writes and of nothing else: .NET's decoder skips spaces and spare bits.
    public static byte[] OfB64u(string text) {
        string padded = text.Replace('-', '+').Replace('_', '/') + "===".Substring((text.Length + 3) % 4);
        try {
            byte[] bytes = Convert.FromBase64String(padded);
            if (ToB64u(bytes) == text) return bytes;
        }
        catch (FormatException) { }
        throw new Refused("not base64url");
    }
}

// --- The hardware: normal form and digest ------------------------------------------------------------------

public static class Hardware {
    // What each component weighs when two machines are compared.
    public static readonly Dictionary<string, int> Weights = new Dictionary<string, int> {
        { "tpm", 4 }, { "board", 3 }, { "bios", 3 }, { "disk", 3 }, { "mac", 2 }, { "osid", 2 }, { "cpu", 1 },
    };

    // Components that no two machines have in common.
    public static readonly string[] Anchors = { "tpm", "board", "bios", "disk" };

    // What makers leave where a serial number should be, in normal form.
    private static readonly string[] Junk = @"
        TOBEFILLEDBYOEM DEFAULTSTRING SYSTEMSERIALNUMBER BASEBOARDSERIALNUMBER CHASSISSERIALNUMBER
        SYSTEMMANUFACTURER SYSTEMPRODUCTNAME NOTAPPLICABLE NOTSPECIFIED NOTAVAILABLE NOTDEFINED NOTPRESENT
        UNKNOWN UNDEFINED INVALID NONE NULL EMPTY SERIAL SERIALNUMBER 0123456789 123456789 1234567890 12345678
        0123456789ABCDEF 123456789ABCDEF 03000200040005000006000700080009
        ".Split((char[])null, StringSplitOptions.RemoveEmptyEntries);

    // A serial number as every client writes it, or null where it tells nothing.
    public static string NormalForm(string type, string raw) {
        string text;
        try { text = raw.Normalize(NormalizationForm.FormKC); }
        catch (ArgumentException) { return null; }  // not Unicode at all
        // Sharp s and dotless i, whose upper case is in A-Z, and the invariant culture does not know it.
        text = text.Replace("\u00df", "SS").Replace("\u0131", "I").ToUpperInvariant();
        text = Regex.Replace(text, "[^A-Z0-9]", "");
        if (text.Length > 128) text = text.Substring(0, 128);
        if (text.Length < 4 || text.Distinct().Count() == 1 || Junk.Contains(text)) return null;
        if (type != "mac") return text;
        // Not the addresses of groups nor those that software made up: two bits of the first byte tell.
        if (!Regex.IsMatch(text, "^[0-9A-F]{12}$")) return null;
        return (Convert.ToByte(text.Substring(0, 2), 16) & 3) == 0 ? text : null;
    }

    // 32 bytes for each pair of type and raw value. Raw values stay here, and what one tool sends of them
    // cannot be compared with what another sends.
    public static SortedDictionary<string, byte[][]> Digests(
        string tool, IEnumerable<KeyValuePair<string, string>> serials) {
        var digests = new SortedDictionary<string, byte[][]>(StringComparer.Ordinal);
        foreach (var ofType in serials.GroupBy(serial => serial.Key, serial => serial.Value)) {
            string type = ofType.Key;
            var forms = ofType.Select(raw => NormalForm(type, raw)).Where(form => form != null).Distinct();
            byte[] scope = Bytes.Join(Bytes.Lp("dsk1/hwid"), Bytes.Lp(tool), Bytes.Lp(type));
            byte[][] values = forms.OrderBy(form => form, StringComparer.Ordinal)
                .Select(form => Bytes.Sha256(Bytes.Join(scope, Bytes.Lp(form)))).ToArray();
            if (values.Length > 0) digests.Add(type, values);
        }
        return digests;
    }

    // What a request carries, its members in the order of RFC 8785.
    public static object Id(SortedDictionary<string, byte[][]> digests) {
        var components = digests.Select(
            each => new KeyValuePair<string, object>(each.Key, each.Value.Select(Bytes.ToB64u)));
        return Json.Object("c", components, "v", 1);
    }

    // 32 bytes that tell machines apart in a log. They decide nothing.
    public static byte[] Fingerprint(SortedDictionary<string, byte[][]> digests) {
        return Bytes.Sha256(Bytes.Join(Bytes.Lp("dsk1/hwid-fp"), Bytes.Lp(Json.Write(Id(digests)))));
    }
}

// The raw values of this machine, as Windows tells them to every user.
public static class WindowsHardware {
    public static IEnumerable<KeyValuePair<string, string>> Read() {
        string drive = Path.GetPathRoot(Environment.SystemDirectory).TrimEnd('\\');
        string partition = Query("ASSOCIATORS OF {Win32_LogicalDisk.DeviceID='" + drive
            + "'} WHERE AssocClass=Win32_LogicalDiskToPartition", "DeviceID").FirstOrDefault();
        return new[] {
            Query("SELECT * FROM Win32_BaseBoard", "Manufacturer", "SerialNumber").Select(Of("board")),
            Query("SELECT * FROM Win32_ComputerSystemProduct", "UUID").Select(Of("bios")),
            Query("ASSOCIATORS OF {Win32_DiskPartition.DeviceID='" + partition
                + "'} WHERE AssocClass=Win32_DiskDriveToDiskPartition", "SerialNumber").Select(Of("disk")),
            Query("SELECT * FROM Win32_NetworkAdapter WHERE PhysicalAdapter=TRUE AND PNPDeviceID LIKE 'PCI%'",
                "MACAddress").Select(Of("mac")),
            Query("SELECT * FROM Win32_Processor", "ProcessorId").Select(Of("cpu")),
            MachineGuid().Select(Of("osid")),
        }.SelectMany(each => each);
    }

    private static Func<string, KeyValuePair<string, string>> Of(string type) {
        return raw => new KeyValuePair<string, string>(type, raw);
    }

    // The properties, joined, of each object found. One whose last property is a placeholder is left out: the
    // maker's name in front would hide it.
    private static List<string> Query(string wql, params string[] properties) {
        var found = new List<string>();
        try {
            using (var searcher = new ManagementObjectSearcher(wql))
                foreach (ManagementBaseObject each in searcher.Get()) {
                    string[] values = properties.Select(name => each[name] as string ?? "").ToArray();
                    if (Hardware.NormalForm(null, values.Last()) != null) found.Add(string.Join(" ", values));
                }
        }
        catch (ManagementException) { }  // this machine knows nothing of the kind
        return found;
    }

    private static IEnumerable<string> MachineGuid() {
        // The view of 64-bit programs: a 32-bit one finds a copy that need not be there.
        using (var machine = RegistryKey.OpenBaseKey(RegistryHive.LocalMachine, RegistryView.Registry64))
        using (var key = machine.OpenSubKey(@"SOFTWARE\Microsoft\Cryptography")) {
            var guid = key == null ? null : key.GetValue("MachineGuid") as string;
            return guid == null ? new string[0] : new[] { guid };
        }
    }
}

// --- Suite S2: P-256 and A256CBC-HS512 ---------------------------------------------------------------------

// A P-256 key pair for one handshake.
public interface IKeyAgreement : IDisposable {
    // 65 bytes: 4, X, Y.
    byte[] PublicPoint { get; }

    // HMAC-SHA-256, 32 bytes, over the secret agreed with `peerPoint`. The secret itself is never seen:
    // CNG does not hand it out. Throws Refused where the point is none of the curve.
    byte[] HmacOfSecret(byte[] hmacKey, byte[] peerPoint);
}

// P-256 as the platform has it: CNG on Windows. A test puts its own in place where there is none.
public static class P256 {
    public static Func<IKeyAgreement> NewKeyPair =
        () => new PlatformKeyPair(ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256));

    // ES256 (RFC 7518, section 3.4): point of 65 bytes, signed bytes, signature R || S.
    public static Func<byte[], byte[], byte[], bool> Verify = (point, signed, signature) => {
        using (var key = ECDsa.Create(Parameters(point)))
            return key.VerifyData(signed, signature, HashAlgorithmName.SHA256);
    };

    public static byte[] CheckForm(byte[] point) {
        if (point.Length != 65 || point[0] != 4) throw new Refused("not an uncompressed point");
        return point;
    }

    public static ECParameters Parameters(byte[] point) {
        CheckForm(point);
        var q = new ECPoint { X = point.Skip(1).Take(32).ToArray(), Y = point.Skip(33).ToArray() };
        return new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = q };
    }
}

public sealed class PlatformKeyPair : IKeyAgreement {
    private readonly ECDiffieHellman key;

    public PlatformKeyPair(ECDiffieHellman key) { this.key = key; }

    public byte[] PublicPoint {
        get {
            ECPoint q = key.ExportParameters(false).Q;
            return Bytes.Join(new byte[] { 4 }, q.X, q.Y);
        }
    }

    public byte[] HmacOfSecret(byte[] hmacKey, byte[] peerPoint) {
        ECParameters parameters = P256.Parameters(peerPoint);
        try {
            using (var peer = ECDiffieHellman.Create(parameters))
                return key.DeriveKeyFromHmac(peer.PublicKey, HashAlgorithmName.SHA256, hmacKey);
        }
        catch (CryptographicException) { throw new Refused("not a point of the curve"); }
    }

    public void Dispose() { key.Dispose(); }
}

// RFC 7518, section 5.2.5. Key 64 bytes, for the tag and for AES; IV 16; tag 32.
public static class A256CbcHs512 {
    public const int KeyBytes = 64, NonceBytes = 16;
    private const int TagBytes = 32;

    public static byte[] Seal(byte[] key, byte[] nonce, byte[] aad, byte[] plaintext) {
        using (var aes = Aes.Create())
        using (var encryptor = aes.CreateEncryptor(key.Skip(32).ToArray(), nonce)) {
            byte[] ciphertext = encryptor.TransformFinalBlock(plaintext, 0, plaintext.Length);
            return Bytes.Join(ciphertext, Tag(key, nonce, aad, ciphertext));
        }
    }

    // Throws Refused before a block is decrypted: what the padding looks like is nobody's business.
    public static byte[] Open(byte[] key, byte[] nonce, byte[] aad, byte[] box) {
        int size = Math.Max(0, box.Length - TagBytes);
        byte[] ciphertext = box.Take(size).ToArray();
        if (!Bytes.AreEqual(Tag(key, nonce, aad, ciphertext), box.Skip(size).ToArray()))
            throw new Refused("the box does not open");
        using (var aes = Aes.Create())
        using (var decryptor = aes.CreateDecryptor(key.Skip(32).ToArray(), nonce))
            return decryptor.TransformFinalBlock(ciphertext, 0, size);
    }

    private static byte[] Tag(byte[] key, byte[] nonce, byte[] aad, byte[] ciphertext) {
        using (var hmac = new HMACSHA512(key.Take(32).ToArray())) {
            byte[] aadBits = Bytes.OfNumber(8L * aad.Length, 8);
            return hmac.ComputeHash(Bytes.Join(aad, nonce, ciphertext, aadBits)).Take(TagBytes).ToArray();
        }
    }
}

// --- The handshake: a session that only the holder of the pinned key can have made -------------------------

// A public key of the server that came with the tool, not over the network.
public sealed class Pin {
    public readonly string Kid;
    public readonly byte[] Point;

    public Pin(string kid, byte[] point) {
        Kid = kid;
        Point = point;
    }
}

public sealed class Session {
    public readonly string Id, Token;
    public readonly byte[] Key, Iv;

    public Session(string id, byte[] key, byte[] iv, string token) {
        Id = id;
        Key = key;
        Iv = iv;
        Token = token;
    }

    public byte[] Derive(string label) {
        return Bytes.Expand(Key, Bytes.Join(Bytes.Lp(label), Dsk1.Suite, Bytes.Lp(Id)), 32);
    }

    public byte[] Nonce(long seq) {
        byte[] number = Bytes.OfNumber(seq, Iv.Length);
        return Iv.Zip(number, (a, b) => (byte)(a ^ b)).ToArray();
    }
}

// What both sides derive from a handshake.
public sealed class Schedule {
    public readonly byte[] TranscriptHash, HelloKey, SessionKey, SessionIv;

    public Schedule(byte[] transcriptHash, byte[] prk2) {
        TranscriptHash = transcriptHash;
        HelloKey = Bytes.Expand(prk2, Info("dsk1/hello"), A256CbcHs512.KeyBytes);
        SessionKey = Bytes.Expand(prk2, Info("dsk1/session_key"), 32);
        SessionIv = Bytes.Expand(prk2, Info("dsk1/session_iv"), A256CbcHs512.NonceBytes);
    }

    private byte[] Info(string label) { return Bytes.Join(Bytes.Lp(label), TranscriptHash); }
}

// A request as it is sent, and what its reply is bound to.
public sealed class SealedRequest {
    public long Seq;
    public string Op;
    public byte[] Body, Hash;
}

public static class Dsk1 {
    // The number of suite S2.
    public static readonly byte[] Suite = { 2 };

    private const int MaxBoxBytes = 32 * 1024, PaddingBytes = 256;

    public static byte[] HelloRequest(Pin pin, byte[] clientPoint) {
        return Bytes.Of(Json.Write(Json.Object(
            "v", 1, "suite", "S2", "kid", pin.Kid, "pub", Bytes.ToB64u(clientPoint), "ext", "")));
    }

    // Over all that both sides know and said: who differs in one bit of it gets other keys.
    public static byte[] TranscriptHash(
        Pin pin, byte[] clientPoint, string sessionId, long expiresInS, byte[] serverPoint) {
        byte[] known = Bytes.Join(Bytes.Lp("dsk1/th"), Suite, Bytes.Lp(pin.Kid), Bytes.Lp(pin.Point));
        byte[] said = Bytes.Join(Bytes.Lp(clientPoint), Bytes.Lp(""), Bytes.Lp(sessionId),
            Bytes.OfNumber(expiresInS, 4), Bytes.Lp(serverPoint));
        return Bytes.Sha256(Bytes.Join(known, said));
    }

    // 32 bytes. The secret with the pinned key proves who the server is; the one with its fresh key keeps
    // the session when the pinned one is stolen later.
    public static byte[] ChainSecrets(IKeyAgreement keys, byte[] pinnedPoint, byte[] freshPoint) {
        byte[] prk1 = keys.HmacOfSecret(Bytes.Of("dsk1/kex"), pinnedPoint);
        return keys.HmacOfSecret(prk1, freshPoint);
    }

    // The session in the server's reply. Throws Refused: then nothing in it can be believed.
    public static Session OpenHello(Pin pin, IKeyAgreement keys, byte[] body) {
        JsonObject reply = Json.ReadObject(body);
        string id = reply.Get<string>("session_id");
        long expiresInS = reply.Get<long>("expires_in");
        if (reply.Get<long>("v") != 1 || reply.Get<string>("suite") != "S2"
            || reply.Get<string>("kid") != pin.Kid || !Regex.IsMatch(id, @"^[0-9a-f]{64}\z")
            || expiresInS < 1 || expiresInS > uint.MaxValue)
            throw new Refused("not a reply to this request");

        byte[] serverPoint = Bytes.OfB64u(reply.Get<string>("pub"));
        byte[] th = TranscriptHash(pin, keys.PublicPoint, id, expiresInS, serverPoint);
        var schedule = new Schedule(th, ChainSecrets(keys, pin.Point, serverPoint));
        byte[] aad = Bytes.Join(Bytes.Lp("dsk1/hello"), th);
        JsonObject hello = Json.ReadObject(OpenBox(
            schedule.HelloKey, new byte[A256CbcHs512.NonceBytes], aad, reply));
        return new Session(id, schedule.SessionKey, schedule.SessionIv, hello.Get<string>("token"));
    }

    // Throws Refused where the token is not of this session. Its signature is for the server.
    public static void CheckToken(Session session) {
        byte[][] parts = session.Token.Split('.').Select(Bytes.OfB64u).ToArray();
        if (parts.Length != 3) throw new Refused("not a token");
        JsonObject claims = Json.ReadObject(parts[1]);
        string proof = claims.Get<JsonObject>("cnf").Get<string>("dsk1");
        if (claims.Get<string>("sid") != session.Id || proof != Bytes.ToB64u(session.Derive("dsk1/cnf")))
            throw new Refused("a token of another session");
    }

    // --- The record: a request, and the one reply that belongs to it ---

    // UTF-8 with spaces behind it, so that its length tells little.
    public static byte[] Pad(string json) {
        byte[] text = Bytes.Of(json);
        int spaces = (PaddingBytes - text.Length % PaddingBytes) % PaddingBytes;
        return Bytes.Join(text, Bytes.Of(new string(' ', spaces)));
    }

    // What a box is bound to without holding it.
    public static byte[] AssociatedData(string label, Session session, long seq, string op, byte[] hash) {
        return Bytes.Join(Bytes.Lp(label), Suite, Bytes.Lp(session.Id), Bytes.OfNumber(seq, 8), Bytes.Lp(op),
            Bytes.Lp(hash));
    }

    // Of 16 random bytes of salt. A `seq` serves for one plaintext and never for another.
    public static SealedRequest SealRequest(
        Session session, long seq, string op, byte[] salt, byte[] plaintext) {
        byte[] tokenHash = Bytes.Sha256(Bytes.Of(session.Token));
        byte[] aad = AssociatedData("dsk1/req", session, seq, op, tokenHash);
        byte[] info = Bytes.Join(Bytes.Lp("dsk1/mk"), Bytes.OfNumber(seq, 8), Bytes.Lp(salt));
        byte[] key = Bytes.Expand(session.Derive("dsk1/c2s"), info, A256CbcHs512.KeyBytes);
        byte[] box = A256CbcHs512.Seal(key, session.Nonce(seq), aad, plaintext);
        object body = Json.Object("v", 1, "session_id", session.Id, "seq", seq, "op", op,
            "salt", Bytes.ToB64u(salt), "box", Bytes.ToB64u(box));
        return new SealedRequest {
            Seq = seq,
            Op = op,
            Body = Bytes.Of(Json.Write(body)),
            Hash = Bytes.Sha256(Bytes.Join(
                Bytes.Lp("dsk1/rh"), Bytes.Lp(aad), Bytes.Lp(salt), Bytes.Lp(box))),
        };
    }

    // The JSON that the server answered to this request and to no other. Throws Refused.
    public static byte[] OpenReply(Session session, SealedRequest request, byte[] body) {
        JsonObject reply = Json.ReadObject(body);
        byte[] salt = Bytes.OfB64u(reply.Get<string>("salt"));
        if (reply.Get<long>("v") != 1 || reply.Get<string>("session_id") != session.Id
            || reply.Get<long>("seq") != request.Seq || salt.Length != 16)
            throw new Refused("not the reply to this request");

        byte[] info = Bytes.Join(
            Bytes.Lp("dsk1/mk"), Bytes.OfNumber(request.Seq, 8), Bytes.Lp(salt), Bytes.Lp(request.Hash));
        byte[] key = Bytes.Expand(session.Derive("dsk1/s2c"), info, A256CbcHs512.KeyBytes);
        byte[] aad = AssociatedData("dsk1/res", session, request.Seq, request.Op, request.Hash);
        return OpenBox(key, session.Nonce(request.Seq), aad, reply);
    }

    private static byte[] OpenBox(byte[] key, byte[] nonce, byte[] aad, JsonObject reply) {
        byte[] box = Bytes.OfB64u(reply.Get<string>("box"));
        if (box.Length > MaxBoxBytes) throw new Refused("a box too large");
        return A256CbcHs512.Open(key, nonce, aad, box);
    }
}

// --- The way there and back --------------------------------------------------------------------------------

public sealed class Answer {
    public int Status;
    public byte[] Body;
}

public sealed class Server {
    private const int TimeoutMs = 10 * 1000, MaxReplyBytes = 64 * 1024;

    private readonly string address;
    private readonly int[] waitsMs;
    private readonly HttpClient http;

    public Server(string address, int[] waitsMs) {
        this.address = address.TrimEnd('/');
        this.waitsMs = waitsMs;
        http = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false });
        http.Timeout = Timeout.InfiniteTimeSpan;
        http.DefaultRequestHeaders.ExpectContinue = false;
    }

    // The answer to a request that is sent, the same bytes every time, until it has one. Throws SessionLost.
    public Answer Post(string path, byte[] body, string token) {
        for (int attempt = 0; ; attempt++) {
            string problem = "no reply in time";
            try {
                Answer answer = PostWithin(TimeoutMs, path, body, token);
                if (answer != null && answer.Status != 503) return answer;
                if (answer != null) problem = "the server is busy";
            }
            catch (HttpRequestException error) { problem = error.GetBaseException().Message; }
            catch (IOException error) { problem = error.Message; }
            if (attempt == waitsMs.Length) throw new SessionLost(problem);
            Program.Say("Trying again in " + waitsMs[attempt] + " ms: " + problem);
            Thread.Sleep(waitsMs[attempt]);
        }
    }

    // Null for one that takes longer, however lively its bytes come.
    private Answer PostWithin(int milliseconds, string path, byte[] body, string token) {
        var request = new HttpRequestMessage(HttpMethod.Post, address + path);
        request.Content = new ByteArrayContent(body);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        if (token != null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        var stop = new CancellationTokenSource();
        Task<Answer> answer = Send(request, stop.Token);
        if (Task.WaitAny(new Task[] { answer }, milliseconds) == 0) return answer.GetAwaiter().GetResult();
        stop.Cancel();
        return null;
    }

    private async Task<Answer> Send(HttpRequestMessage request, CancellationToken stop) {
        using (var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop))
        using (var stream = await response.Content.ReadAsStreamAsync()) {
            var body = new MemoryStream();
            var part = new byte[8 * 1024];
            for (int size; (size = await stream.ReadAsync(part, 0, part.Length, stop)) > 0; ) {
                body.Write(part, 0, size);
                if (body.Length > MaxReplyBytes) throw new Unavailable("the reply is too long");
            }
            return new Answer { Status = (int)response.StatusCode, Body = body.ToArray() };
        }
    }
}

// --- The check ---------------------------------------------------------------------------------------------

public sealed class Verdict {
    public readonly string Outcome, Code, SupportCode;

    public Verdict(string outcome, string code, string supportCode) {
        Outcome = outcome;
        Code = code;
        SupportCode = supportCode;
    }

    // What an opened reply says, and only an opened one may come here.
    public static Verdict Of(JsonObject reply) {
        JsonObject data = reply.Find<JsonObject>("data") ?? new JsonObject();
        string code = reply.Find<string>("code"), supportCode = data.Find<string>("support_code");
        object status, valid;
        reply.TryGetValue("status", out status);
        data.TryGetValue("valid", out valid);
        bool isRefusal = code != null && Regex.IsMatch(code, "^(licence|device|seat)_");
        if (200L.Equals(status) && true.Equals(valid)) return new Verdict("allowed", code, supportCode);
        if (403L.Equals(status) && isRefusal) return new Verdict("denied", code, supportCode);
        return new Verdict("unavailable", null, supportCode);
    }

    public override string ToString() {
        return Json.Write(Json.Object("outcome", Outcome, "code", Code, "support_code", SupportCode));
    }
}

public static class Check {
    // The opened reply to a licence check, from a second session if need be. Throws Unavailable.
    public static JsonObject Ask(Server server, IEnumerable<Pin> pins, object data) {
        // Once for both: by the nonce the server knows that two sessions bring one and the same check.
        string nonce = Bytes.ToB64u(Bytes.Random(16));
        byte[] plaintext = Dsk1.Pad(Json.Write(Json.Object("nonce", nonce, "data", data)));
        for (bool isLast = false; ; isLast = true) {
            Session session = ShakeHands(server, pins);
            try { return Call(server, session, 1, "licence.check", plaintext); }
            catch (SessionLost loss) {
                if (isLast) throw;
                Program.Say("Asking for a new session: " + loss.Message);
            }
        }
    }

    // A session under the first pinned key that the server has.
    private static Session ShakeHands(Server server, IEnumerable<Pin> pins) {
        foreach (Pin pin in pins)
            using (IKeyAgreement keys = P256.NewKeyPair()) {
                Answer answer = server.Post("/v1/session", Dsk1.HelloRequest(pin, keys.PublicPoint), null);
                if (answer.Status == 400 && SaysKex(answer.Body)) {
                    // Anybody can say this. It leads to another pinned key, and nowhere else.
                    Program.Say("The server does not know the key " + pin.Kid);
                    continue;
                }
                if (answer.Status != 200) throw new Unavailable("no session, HTTP " + answer.Status);
                try {
                    Session session = Dsk1.OpenHello(pin, keys, answer.Body);
                    Program.Say("Session key obtained");
                    Dsk1.CheckToken(session);
                    Program.Say("JWT token parsed");
                    Program.Say("Using dynamic encryption keys from session");
                    return session;
                }
                catch (Refused) { throw new Unavailable("whoever answered does not have the pinned key"); }
            }
        throw new Unavailable("the server has none of the pinned keys");
    }

    private static bool SaysKex(byte[] body) {
        try { return Json.ReadObject(body).Find<string>("error") == "kex"; }
        catch (Refused) { return false; }
    }

    private static JsonObject Call(Server server, Session session, long seq, string op, byte[] plaintext) {
        SealedRequest request = Dsk1.SealRequest(session, seq, op, Bytes.Random(16), plaintext);
        Answer answer = server.Post("/v1/call", request.Body, session.Token);
        if (answer.Status == 401) throw new SessionLost("the session is not known any more");
        if (answer.Status != 200) throw new Unavailable("no sealed reply, HTTP " + answer.Status);
        JsonObject reply;
        try { reply = Json.ReadObject(Dsk1.OpenReply(session, request, answer.Body)); }
        catch (Refused) { throw new Unavailable("the reply is not the server's"); }
        if (reply.Find<string>("code") == "session_expired") throw new SessionLost("the session has expired");
        return reply;
    }
}

// --- The lease: what the server's word is worth while it cannot be asked -----------------------------------

public sealed class Lease {
    private const int MaxBytes = 8 * 1024;

    public readonly string Jti;
    public readonly long Seq, Iat, Nbf, Exp, Grace, Run;
    private readonly JsonObject hardware;

    private Lease(JsonObject claims) {
        Jti = claims.Get<string>("jti");
        Seq = claims.Get<long>("seq");
        Iat = claims.Get<long>("iat");
        Nbf = claims.Get<long>("nbf");
        Exp = claims.Get<long>("exp");
        Grace = claims.Get<long>("grace");
        Run = claims.Get<long>("run");
        hardware = claims.Get<JsonObject>("hw");
    }

    // A lease for this tool, signed by a pinned key (points of 65 bytes, by their id). Throws Refused.
    public static Lease Read(string jws, IDictionary<string, byte[]> pinnedKeys, string tool) {
        string[] parts = jws.Split('.');
        if (jws.Length > MaxBytes || parts.Length != 3) throw new Refused("not a lease");
        JsonObject header = Json.ReadObject(Bytes.OfB64u(parts[0]));
        // The pinned key says which algorithm it is. The header may say the same, and chooses nothing.
        if (header.Get<string>("alg") != "ES256" || header.Get<string>("typ") != "dsk-lease+jwt"
            || header.ContainsKey("crit"))
            throw new Refused("not a lease");
        byte[] point, signature = Bytes.OfB64u(parts[2]), signed = Bytes.Of(parts[0] + "." + parts[1]);
        if (!pinnedKeys.TryGetValue(header.Get<string>("kid"), out point) || signature.Length != 64
            || !P256.Verify(point, signed, signature))
            throw new Refused("not signed by a pinned key");
        JsonObject claims = Json.ReadObject(Bytes.OfB64u(parts[1]));
        if (claims.Get<string>("aud") != "tool:" + tool) throw new Refused("for another tool");
        return new Lease(claims);
    }

    // Whether enough of the machine that got it is found in this one, by weight, and one anchor.
    public bool Fits(SortedDictionary<string, byte[][]> digests) {
        byte[] salt = Bytes.OfB64u(hardware.Get<string>("s"));
        long have = 0, hit = 0;
        bool hasAnchor = false;
        foreach (var component in hardware.Get<JsonObject>("c")) {
            int weight;
            byte[][] here;
            Hardware.Weights.TryGetValue(component.Key, out weight);
            have += weight;
            if (!digests.TryGetValue(component.Key, out here)) continue;
            byte[] scope = Bytes.Join(Bytes.Lp("dsk1/lease-hw"), Bytes.Lp(component.Key));
            var codes = here.Select(digest => Bytes.ToB64u(
                Bytes.Hmac256(salt, Bytes.Join(scope, Bytes.Lp(digest))).Take(16).ToArray()));
            if (!codes.Intersect(((List<object>)component.Value).OfType<string>()).Any()) continue;
            hit += weight;
            hasAnchor = hasAnchor || Hardware.Anchors.Contains(component.Key);
        }
        return hasAnchor && hardware.Get<long>("n") * hit >= hardware.Get<long>("m") * have;
    }
}

// Which lease counts, and what its clock has seen, in seconds.
public sealed class LeaseState {
    private const int ClockSlackS = 300;

    public string Jti;
    public long Seq, LatestTime, Used, Monotonic;

    // One step of the clock rules, at the start and every 60 s for as long as a tool runs: `lease`,
    // `grace`, `expired` or `clock_rollback`. A clock that was set back shows by the latest time ever
    // seen, one that stands still by the time used. A machine that is restored as a whole, state and
    // clock together, does not show: hence leases are short.
    public string Step(Lease lease, long now, long monotonic) {
        bool isSameBoot = Monotonic <= monotonic;
        Used += monotonic - (isSameBoot ? Monotonic : 0);
        Monotonic = monotonic;
        bool isSetBack = now + ClockSlackS < Math.Max(LatestTime, lease.Nbf);
        LatestTime = Math.Max(Math.Max(now, LatestTime), lease.Iat);
        if (isSetBack) return "clock_rollback";
        if (Used > lease.Run || LatestTime > lease.Exp + lease.Grace) return "expired";
        return LatestTime <= lease.Exp ? "lease" : "grace";
    }

    public static LeaseState Read(string text) {
        JsonObject members = Json.ReadObject(Bytes.Of(text));
        return new LeaseState {
            Jti = members.Get<string>("jti"),
            Seq = members.Get<long>("seq"),
            LatestTime = members.Get<long>("hwm"),
            Used = members.Get<long>("run"),
            Monotonic = members.Get<long>("mono"),
        };
    }

    public override string ToString() {
        return Json.Write(Json.Object(
            "jti", Jti, "seq", Seq, "hwm", LatestTime, "run", Used, "mono", Monotonic));
    }
}

// A lease, and beside it its state, which only this Windows user can read or write (DPAPI). A lease
// without its state does not count.
public sealed class LeaseFile {
    private readonly string path, statePath, tool;
    private readonly IDictionary<string, byte[]> pinnedKeys;
    private readonly byte[] purpose;

    public LeaseFile(string path, IDictionary<string, byte[]> pinnedKeys, string tool, string licence) {
        this.path = path;
        this.pinnedKeys = pinnedKeys;
        this.tool = tool;
        statePath = path + ".state";
        // The state of another licence does not open.
        string asPrinted = Regex.Replace(licence.ToUpperInvariant(), @"[\s-]", "");
        asPrinted = asPrinted.Replace('O', '0').Replace('I', '1').Replace('L', '1');
        purpose = Bytes.Sha256(Bytes.Join(Bytes.Lp("lease state"), Bytes.Lp(tool), Bytes.Lp(asPrinted)));
    }

    // Keeps what an opened reply brings: a lease, the time, from which number on leases count.
    public void Learn(JsonObject reply, bool isAllowed) {
        JsonObject data = reply.Get<JsonObject>("data");
        string jws = data.Find<string>("lease");
        LeaseState state;
        if (isAllowed && jws != null) {
            Lease lease = Lease.Read(jws, pinnedKeys, tool);
            WriteWhole(path, Bytes.Of(jws + "\n"));
            // Nothing of the old state, nor of the clock here: one that ran ahead does no lasting harm.
            state = new LeaseState {
                Jti = lease.Jti,
                Seq = lease.Seq,
                LatestTime = lease.Iat,
                Monotonic = Clock.Monotonic(),
            };
        }
        else if (File.Exists(statePath)) state = ReadState();
        else return;
        state.LatestTime = Math.Max(state.LatestTime, reply.Get<long>("server_time"));
        if (data.ContainsKey("lease_floor")) state.Seq = Math.Max(state.Seq, data.Get<long>("lease_floor"));
        WriteState(state);
    }

    // What LeaseState.Step says. Throws where there is no lease for this machine.
    public string Judge(SortedDictionary<string, byte[][]> digests) {
        LeaseState state = ReadState();
        Lease lease = Lease.Read(File.ReadAllText(path).TrimEnd('\n'), pinnedKeys, tool);
        if (lease.Jti != state.Jti || lease.Seq < state.Seq) throw new Refused("not the latest lease");
        if (!lease.Fits(digests)) throw new Refused("for another machine");
        string judgement = state.Step(lease, Clock.Now(), Clock.Monotonic());
        WriteState(state);
        return judgement;
    }

    private LeaseState ReadState() {
        byte[] sealedState = File.ReadAllBytes(statePath);
        byte[] state = ProtectedData.Unprotect(sealedState, purpose, DataProtectionScope.CurrentUser);
        return LeaseState.Read(Bytes.ToText(state));
    }

    private void WriteState(LeaseState state) {
        byte[] text = Bytes.Of(state.ToString());
        WriteWhole(statePath, ProtectedData.Protect(text, purpose, DataProtectionScope.CurrentUser));
    }

    // All of it or nothing.
    private static void WriteWhole(string path, byte[] bytes) {
        string draft = path + ".new";
        using (var file = new FileStream(draft, FileMode.Create)) {
            file.Write(bytes, 0, bytes.Length);
            file.Flush(true);
        }
        if (File.Exists(path)) File.Replace(draft, path, null);
        else File.Move(draft, path);
    }
}

public static class Clock {
    // Seconds since 1970 by the clock on the wall, which anybody can set.
    public static long Now() { return DateTimeOffset.UtcNow.ToUnixTimeSeconds(); }

    // Seconds since this machine started.
    public static long Monotonic() { return Stopwatch.GetTimestamp() / Stopwatch.Frequency; }
}

// --- The command line --------------------------------------------------------------------------------------

public sealed class WrongUsage : Exception { public WrongUsage(string what) : base(what) { } }

public sealed class Options {
    public string Server, Suite, Licence, Tool, Lease;
    public readonly List<Pin> Pins = new List<Pin>();
    public readonly Dictionary<string, byte[]> LeaseKeys = new Dictionary<string, byte[]>();
    public readonly List<KeyValuePair<string, string>> Serials = new List<KeyValuePair<string, string>>();
    public readonly int[] WaitsMs;

    public Options(string[] arguments) {
        for (int i = 0; i < arguments.Length; i += 2) {
            if (i + 1 == arguments.Length) throw new WrongUsage(arguments[i] + " has no value");
            try { Take(arguments[i], arguments[i + 1]); }
            // What was given is not repeated: it may be a licence key.
            catch (Refused) { throw new WrongUsage(arguments[i] + " is malformed"); }
        }
        if (Server == null || Suite == null || Licence == null || Tool == null || Pins.Count == 0)
            throw new WrongUsage("--server, --suite, --pin, --licence and --tool are needed");
        if ((Lease == null) != (LeaseKeys.Count == 0))
            throw new WrongUsage("--lease and --lease-key go together");
        if (Serials.Count == 0 && Environment.OSVersion.Platform != PlatformID.Win32NT)
            throw new WrongUsage("--hw is needed where there is no WMI");
        string waits = Environment.GetEnvironmentVariable("KUNCI_RETRY_MS") ?? "1000,3000,9000";
        WaitsMs = waits.Split(new[] { ',' }, StringSplitOptions.RemoveEmptyEntries)
            .Select(wait => int.Parse(wait, CultureInfo.InvariantCulture)).ToArray();
    }

    private void Take(string name, string value) {
        switch (name) {
            case "--server": Server = Parts(value, @"(https?://[^/@?#\s]+[^?#\s]*)")[0]; break;
            case "--suite": Suite = Parts(value, "(S2)")[0]; break;
            case "--licence": Licence = Parts(value, "([A-Za-z0-9 -]{1,64})")[0]; break;
            case "--tool": Tool = Parts(value, "([a-z0-9-]{1,32})")[0]; break;
            case "--lease": Lease = value; break;
            case "--pin":
                string[] pin = Parts(value, "([0-9a-f]{16}):(.*)");
                Pins.Add(new Pin(pin[0], P256.CheckForm(Bytes.OfB64u(pin[1]))));
                break;
            case "--lease-key":
                string[] key = Parts(value, "([^:]+):([^:]*):([^:]*)");
                byte[] point = Bytes.Join(new byte[] { 4 }, Bytes.OfB64u(key[1]), Bytes.OfB64u(key[2]));
                LeaseKeys[key[0]] = P256.CheckForm(point);
                break;
            case "--hw":
                string[] serial = Parts(value, "([a-z]+)=(.+)");
                if (!Hardware.Weights.ContainsKey(serial[0])) throw new Refused(name);
                Serials.Add(new KeyValuePair<string, string>(serial[0], serial[1]));
                break;
            default: throw new WrongUsage("there is no option " + name);
        }
    }

    private static string[] Parts(string value, string pattern) {
        Match match = Regex.Match(value, "^" + pattern + "\\z", RegexOptions.Singleline);
        if (!match.Success) throw new Refused("malformed");
        return match.Groups.Cast<Group>().Skip(1).Select(each => each.Value).ToArray();
    }
}

public static class Program {
    private const string ToolVersion = "1.0.0";
    private const int Allowed = 0, Denied = 1, NoVerdict = 2, WrongUsageCode = 64;
    private const string Usage = "Usage: KunciClient --server URL --suite S2 --pin KID:PUB... --licence KEY"
        + " --tool CODE [--hw TYPE=VALUE...] [--lease FILE --lease-key KID:X:Y...]";

    public static int Main(string[] arguments) {
        // csc alone builds for .NET 4.0, whose programs speak no newer TLS than 1.0 unless told to.
        AppContext.SetSwitch("Switch.System.Net.DontEnableSystemDefaultTlsVersions", false);
        AppContext.SetSwitch("Switch.System.Net.DontEnableSchUseStrongCrypto", false);
        Verdict verdict;
        try { verdict = Decide(new Options(arguments)); }
        catch (WrongUsage wrong) {
            Console.Error.WriteLine(wrong.Message + Environment.NewLine + Usage);
            return WrongUsageCode;
        }
        catch (Exception defect) {
            // The runtime itself would end with a code that means something else here.
            Say("A defect of this program: " + defect.GetType().Name);
            verdict = new Verdict("unavailable", null, null);
        }
        Say(verdict.ToString());
        return verdict.Outcome == "allowed" ? Allowed : verdict.Outcome == "denied" ? Denied : NoVerdict;
    }

    public static void Say(string line) { Console.Out.WriteLine(line); }

    private static Verdict Decide(Options options) {
        var serials = options.Serials.Count > 0 ? options.Serials : WindowsHardware.Read();
        var digests = Hardware.Digests(options.Tool, serials);
        foreach (string type in serials.Select(serial => serial.Key).Distinct().Except(digests.Keys))
            Say("Left out, as it identifies no machine: " + type);
        string fingerprint = Bytes.ToHex(Hardware.Fingerprint(digests));
        Say("This machine's fingerprint begins with " + fingerprint.Substring(0, 16));
        LeaseFile file = options.Lease == null ? null
            : new LeaseFile(options.Lease, options.LeaseKeys, options.Tool, options.Licence);
        object data = Json.Object("licence", options.Licence, "tool", options.Tool, "ver", ToolVersion,
            "hwid", Hardware.Id(digests));
        var verdict = new Verdict("unavailable", null, null);
        try {
            var server = new Server(options.Server, options.WaitsMs);
            JsonObject reply = Check.Ask(server, options.Pins, data);
            verdict = Verdict.Of(reply);
            SayMessage(reply);
            if (file != null) Keep(file, reply, verdict.Outcome == "allowed");
        }
        catch (Unavailable reason) { Say("No answer: " + reason.Message); }
        return file != null && verdict.Outcome == "unavailable" ? LiveOn(file, digests, verdict) : verdict;
    }

    private static void SayMessage(JsonObject reply) {
        JsonObject data = reply.Find<JsonObject>("data");
        string message = data == null ? null : data.Find<string>("message");
        message = message ?? reply.Find<string>("code") ?? "nothing";
        Say("The server says: " + Regex.Replace(message, @"[\s\p{C}]+", " "));
    }

    // Whatever goes wrong here, what the server has said stays said.
    private static void Keep(LeaseFile file, JsonObject reply, bool isAllowed) {
        try { file.Learn(reply, isAllowed); }
        catch (Exception problem) { Say("Nothing kept for offline use: " + problem.Message); }
    }

    private static Verdict LiveOn(
        LeaseFile file, SortedDictionary<string, byte[][]> digests, Verdict otherwise) {
        try {
            string judgement = file.Judge(digests);
            Say("The kept lease says: " + judgement);
            if (judgement == "lease" || judgement == "grace") return new Verdict("allowed", judgement, null);
        }
        catch (Exception problem) { Say("No lease to live on: " + problem.Message); }
        return otherwise;
    }
}

// --- JSON (RFC 8259): nothing below this line knows of licences --------------------------------------------

public sealed class JsonObject : Dictionary<string, object> {
    // Throws Refused where there is no such member or it is of another type.
    public T Get<T>(string name) {
        object value;
        if (TryGetValue(name, out value) && value is T) return (T)value;
        throw new Refused(name + " is missing or of another type");
    }

    // Null where there is no such member or it is of another type.
    public T Find<T>(string name) where T : class {
        object value;
        return TryGetValue(name, out value) ? value as T : null;
    }
}

// Texts are strings, integers long, other numbers double, arrays List.
public sealed class Json {
    private const int MaxDepth = 16;
    private static readonly Regex Number = new Regex(@"\G-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?");
    private static readonly Regex Plain = new Regex("\\G[^\"\\\\\\x00-\\x1f]*");

    private readonly string text;
    private int at;

    private Json(string text) { this.text = text; }

    // Throws Refused for all but one object in UTF-8, nested at most 16 deep.
    public static JsonObject ReadObject(byte[] utf8) {
        var reader = new Json(Bytes.ToText(utf8));
        object value = reader.ReadValue(1);
        reader.SkipSpace();
        if (reader.at < reader.text.Length || !(value is JsonObject)) throw new Refused("not a JSON object");
        return (JsonObject)value;
    }

    private object ReadValue(int depth) {
        if (depth > MaxDepth) throw new Refused("JSON nested too deeply");
        SkipSpace();
        if (Has("{")) return ReadMembers(depth);
        if (Has("[")) return ReadItems(depth);
        if (Has("\"")) return ReadString();
        if (Has("true")) return true;
        if (Has("false")) return false;
        if (Has("null")) return null;
        return ReadNumber();
    }

    private JsonObject ReadMembers(int depth) {
        var members = new JsonObject();
        SkipSpace();
        if (Has("}")) return members;
        do {
            SkipSpace();
            Expect("\"");
            string name = ReadString();
            SkipSpace();
            Expect(":");
            if (members.ContainsKey(name)) throw new Refused("a JSON member twice");
            members.Add(name, ReadValue(depth + 1));
            SkipSpace();
        } while (Has(","));
        Expect("}");
        return members;
    }

    private List<object> ReadItems(int depth) {
        var items = new List<object>();
        SkipSpace();
        if (Has("]")) return items;
        do {
            items.Add(ReadValue(depth + 1));
            SkipSpace();
        } while (Has(","));
        Expect("]");
        return items;
    }

    private string ReadString() {
        var read = new StringBuilder();
        while (true) {
            read.Append(Match(Plain));
            if (Has("\"")) return read.ToString();
            Expect("\\");
            int escape = at < text.Length ? "\"\\/bfnrtu".IndexOf(text[at++]) : -1;
            if (escape < 0) throw new Refused("not JSON");
            read.Append(escape < 8 ? "\"\\/\b\f\n\r\t"[escape] : ReadHex());
        }
    }

    private char ReadHex() {
        ushort code;
        string digits = text.Substring(at, Math.Min(4, text.Length - at));
        at += digits.Length;
        if (digits.Length < 4 || !ushort.TryParse(
            digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out code))
            throw new Refused("not JSON");
        return (char)code;
    }

    private object ReadNumber() {
        string number = Match(Number);
        long integer;
        double real;
        if (long.TryParse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out integer))
            return integer;
        if (double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out real)) return real;
        throw new Refused("not JSON");
    }

    private string Match(Regex expected) {
        string found = expected.Match(text, at).Value;
        at += found.Length;
        return found;
    }

    private void SkipSpace() { while (at < text.Length && " \t\r\n".IndexOf(text[at]) >= 0) at++; }

    private bool Has(string token) {
        bool isHere = string.CompareOrdinal(text, at, token, 0, token.Length) == 0;
        if (isHere) at += token.Length;
        return isHere;
    }

    private void Expect(string token) { if (!Has(token)) throw new Refused("not JSON"); }

    // An object to be written, from names and values in turn.
    public static IEnumerable<KeyValuePair<string, object>> Object(params object[] namesAndValues) {
        for (int i = 0; i < namesAndValues.Length; i += 2)
            yield return new KeyValuePair<string, object>((string)namesAndValues[i], namesAndValues[i + 1]);
    }

    public static string Write(object value) {
        if (value == null) return "null";
        if (value is bool) return (bool)value ? "true" : "false";
        var text = value as string;
        if (text != null) return Quote(text);
        var members = value as IEnumerable<KeyValuePair<string, object>>;
        if (members != null)
            return "{" + string.Join(",", members.Select(m => Quote(m.Key) + ":" + Write(m.Value))) + "}";
        var items = value as IEnumerable;
        if (items != null) return "[" + string.Join(",", items.Cast<object>().Select(Write)) + "]";
        return Convert.ToString(value, CultureInfo.InvariantCulture);
    }

    private static string Quote(string text) {
        var written = new StringBuilder("\"");
        foreach (char each in text)
            if (each == '"' || each == '\\') written.Append('\\').Append(each);
            else if (each >= ' ' && each <= '~') written.Append(each);
            else written.AppendFormat(CultureInfo.InvariantCulture, "\\u{0:x4}", (int)each);
        return written.Append('"').ToString();
    }
}

}
