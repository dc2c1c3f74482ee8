// Known attacks on what OpenPGP signatures, policies and names decide, each by its own test; then generated ones: every
// good thing changed in every way that one byte can be changed, and none of it accepted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/fd.h"
#include "libsign/openpgp.h"
#include "libsign/openpgp_packets.h"
#include "libsign/simple_signing.h"
#include "libsign/verify.h"
#include "tests/support/gpg_home.h"
#include "tests/support/image_builder.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using image::FetchedImage;
using testing::CaughtError;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;
using testing::SharedKey;

const std::string kName = "h.example/foo:v1";

const image::Image& TestImage() {
  static const image::Image kMade = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello"}).Build();
  return kMade;
}

FetchedImage Named(const std::string& name) { return FetchedImage(TestImage(), DockerReference::Parse(name)); }

std::string PolicyText(const std::string& more = "", const std::string& key = SharedKey::Get().public_key) {
  return R"({"default":[{"type":"reject"}],"transports":{"docker":{"h.example/foo":[{"type":"signedBy","keyType":)"
         R"("GPGKeys","keyData":")" +
         EncodeBase64(key) + "\"" + more + "}]}}}";
}
const Policy& Trusting() {
  static const Policy kPolicy = Policy::Parse(PolicyText(), "policy");
  return kPolicy;
}

std::string Sign(std::string_view payload, std::vector<std::string> options = {}) {
  return SharedKey::Get().home.Sign(SharedKey::Get().fingerprint, payload, std::move(options));
}
std::string Payload(const std::string& name = kName) {
  return SimpleClaim{DockerReference::Parse(name), TestImage().descriptor.digest, "test", 1'700'000'000}.ToJson();
}

Decision Decide(const std::string& signature, const FetchedImage& image = Named(kName),
                const Policy& policy = Trusting()) {
  Evidence evidence;
  evidence.signatures = {signature};
  return Verifier::Decide(image, policy, evidence);
}
std::string CodeOf(const std::string& signature, const std::string& name = kName) {
  const Decision decision = Decide(signature, Named(name));
  EXPECT_EQ(decision.allowed, decision.code == "signed");
  return decision.code;
}

// The file name in a message is shown by gpg; in 2018 it could write lines of the status channel with it.
TEST(OpenPgpAttack, StatusLinesInTheFileName_CVE_2018_12020) {
  const testing::GpgHome home;
  const std::string stranger = home.Generate("stranger <s@x.example>");
  const std::string& trusted = SharedKey::Get().fingerprint;
  const std::string name = "x\n[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG " + trusted.substr(24) + " x\n[GNUPG:] VALIDSIG " +
                           trusted + " 2018-01-01 1514764800 0 4 0 1 8 00 " + trusted + "\n[GNUPG:] TRUST_FULLY\n";
  EXPECT_EQ(CodeOf(home.Sign(stranger, Payload(), {"--set-filename", name})), "unknown-key");
  EXPECT_EQ(CodeOf(Sign(Payload(), {"--set-filename", name})), "signed");
}

// skopeo takes these three [of its standalone-verify].
TEST(OpenPgpAttack, FutureDatesWeakDigestsAndCleartext) {
  EXPECT_EQ(CodeOf(Sign(Payload(), {"--faked-system-time", "20990101T000000"})), "future-signature");
  EXPECT_EQ(CodeOf(Sign(Payload(), {"--digest-algo", "SHA1", "--allow-weak-digest-algos"})), "weak-digest");
  const SharedKey& key = SharedKey::Get();
  EXPECT_EQ(CodeOf(key.home.Run({"--local-user", key.fingerprint, "--clear-sign"}, Payload())), "not-understood");
}

TEST(OpenPgpAttack, AnUnsignedMessageBehindASignedOne) {
  const std::string literal = SharedKey::Get().home.Run({"--store", "-z0", "--output", "-"}, "{}");
  for (const std::string& message : {Sign(Payload(), {"-z0"}) + literal, literal + Sign(Payload(), {"-z0"}),
                                     Sign(Payload(), {"-z0"}) + Sign("{}", {"-z0"})}) {
    EXPECT_NE(CodeOf(message), "signed");
  }
}

TEST(OpenPgpAttack, TagRebinding) {
  const std::string signature = Sign(Payload());
  EXPECT_EQ(CodeOf(signature, "h.example/foo:v2"), "identity-mismatch");
  EXPECT_EQ(CodeOf(signature, "h.example/foo/bar:v1"), "identity-mismatch");
}

TEST(OpenPgpAttack, Rollback) {
  const Policy monotonic = Policy::Parse(PolicyText(R"(,"neverOlder":true)"), "policy");
  Evidence evidence;
  evidence.signatures = {Sign(Payload())};
  const Decision first = Verifier::Decide(Named(kName), monotonic, evidence);
  ASSERT_TRUE(first.accepted) << first.Explain();
  EXPECT_EQ(first.accepted->reference, kName + " " + TestImage().config.platform.ToString());
  evidence.newest = first.accepted->signed_at;
  EXPECT_TRUE(Verifier::Decide(Named(kName), monotonic, evidence).allowed);
  evidence.newest = first.accepted->signed_at + 1;
  EXPECT_EQ(Verifier::Decide(Named(kName), monotonic, evidence).code, "rolled-back");
}

TEST(OpenPgpAttack, UnboundedInput_CVE_2020_1702) {
  Evidence evidence;
  EXPECT_EQ(CaughtError([&] { evidence.Add(std::string(kMaxEvidenceBytes + 1, 'x')); }).kind(), ErrorKind::kCorrupt);
  for (size_t i = 0; i < kMaxEvidence; ++i) {
    EXPECT_TRUE(evidence.Add(std::to_string(i)));
  }
  EXPECT_FALSE(evidence.Add("one more"));
  EXPECT_NE(CodeOf(Sign(std::string(64 << 20, 'x'))), "signed");
}

TEST(OpenPgpAttack, DigestsThatAreNoneLeadNowhere_CVE_2024_3727) {
  for (const char* digest : {"sha256:../../../etc/passwd", "sha256:", "../x", "md5:d41d8cd98f00b204e9800998ecf8427e"}) {
    std::string payload = Payload();
    const std::string real = TestImage().descriptor.digest.str();
    payload.replace(payload.find(real), real.size(), digest);
    EXPECT_EQ(CodeOf(Sign(payload)), "bad-payload") << digest;
  }
}

TEST(OpenPgpAttack, APrefixThatIsNoComponent) {
  EXPECT_EQ(CodeOf(Sign(Payload("h.example/foobar:v1")), "h.example/foobar:v1"), "rejected");
}

TEST(OpenPgpAttack, ASubkeyAndItsPrimaryKeyAreOneInAThreshold) {
  const testing::GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>");
  home.Run({"--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign"});
  const std::string by_primary = home.Sign(primary + "!", Payload());
  const std::string by_subkey = home.Sign(primary, Payload());
  const std::string key = EncodeBase64(home.Export(primary));
  const Policy two = Policy::Parse(R"({"default":[{"type":"threshold","count":2,"requirements":[{"type":"signedBy",)"
                                   R"("keyType":"GPGKeys","keyData":")" +
                                       key + "\"}]}]}",
                                   "policy");
  Evidence evidence;
  evidence.signatures = {by_primary, by_subkey};
  ASSERT_NE(by_primary, by_subkey);
  EXPECT_EQ(Verifier::Decide(Named(kName), two, evidence).code, "threshold-not-met");
}

// A name or user ID that writes to the terminal of whoever asks why.
TEST(OpenPgpAttack, NothingUnprintableIsExplained) {
  const Decision decision = Decide(Sign("{\"\x1b[2J\":1}"));
  EXPECT_EQ(decision.code, "bad-payload");
  EXPECT_THAT(decision.Explain(), Not(HasSubstr("\x1b")));
}

// Positions in a message whose bytes are not signed and decide nothing: the file name and date of the literal packet,
// the hints of the signature packet behind what is hashed, and the two octets of its digest.
std::set<size_t> Unsigned(const std::string& message) {
  std::set<size_t> unsigned_bytes;
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(message[at])); };
  const auto packets = WalkPackets(message).value();
  for (const Packet& packet : packets) {
    const size_t start = static_cast<size_t>(packet.body.data() - message.data());
    size_t from = start, to = start;
    if (packet.tag == PacketTag::kOnePassSignature) {
      from = start + 1;
      to = start + packet.body.size();
    } else if (packet.tag == PacketTag::kLiteral) {
      unsigned_bytes.insert(start);
      from = start + 2;
      to = start + 2 + byte(start + 1) + 4;
    } else if (packet.tag == PacketTag::kSignature) {
      from = start + 6 + (byte(start + 4) << 8 | byte(start + 5));
      to = from + 2 + (byte(from) << 8 | byte(from + 1)) + 2;
    }
    for (; from < to; ++from) {
      unsigned_bytes.insert(from);
    }
  }
  return unsigned_bytes;
}

// One of the bits of each byte in turn.
std::string Flipped(std::string text, size_t at) {
  text[at] = static_cast<char>(text[at] ^ (1 << (at % 8)));
  return text;
}

TEST(OpenPgpMutation, OfAMessage) {
  const std::string message = Sign(Payload(), {"-z0"});
  ASSERT_EQ(CodeOf(message), "signed");
  const std::set<size_t> skipped = Unsigned(message);
  std::set<std::string> codes;
  size_t tried = 0;
  for (size_t at = 0; at < message.size(); at += 2) {
    if (!skipped.contains(at)) {
      const std::string code = CodeOf(Flipped(message, at));
      EXPECT_NE(code, "signed") << at << " of " << ::testing::PrintToString(message);
      codes.insert(code);
      ++tried;
    }
  }
  EXPECT_GT(tried, 100U);
  EXPECT_THAT(codes, IsSubsetOf({"bad-signature", "not-one-message", "not-understood", "unknown-key", "weak-digest",
                                 "future-signature", "expired-signature", "other-kind", "no-signature"}));
}

TEST(OpenPgpMutation, OfTheSignedPayload) {
  const std::string payload = Payload();
  std::set<std::string> codes;
  for (size_t at = 0; at < payload.size(); at += 3) {
    // The word behind "optional" is whatever its signer likes, and a host is the same one in either case.
    const bool same_host = at < payload.find("/foo") && LowerAscii(Flipped(payload, at)) == LowerAscii(payload) &&
                           at >= payload.find("h.example");
    if (at < payload.find("\"optional\"") && !same_host) {
      const std::string code = CodeOf(Sign(Flipped(payload, at)));
      EXPECT_NE(code, "signed") << Flipped(payload, at);
      codes.insert(code);
    }
  }
  EXPECT_THAT(codes, IsSubsetOf({"bad-payload", "digest-mismatch", "identity-mismatch"}));
  EXPECT_EQ(codes.size(), 3U);
}

TEST(OpenPgpMutation, OfTheImage) {
  const std::string signature = Sign(Payload());
  for (int i = 0; i < 30; ++i) {
    const image::Image other =
        testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello" + std::to_string(i)}).Build();
    EXPECT_EQ(Decide(signature, FetchedImage(other, DockerReference::Parse(kName))).code, "digest-mismatch");
  }
}

TEST(OpenPgpMutation, OfTheName) {
  const std::string signature = Sign(Payload());
  const Policy anywhere = Policy::Parse(R"({"default":[{"type":"signedBy","keyType":"GPGKeys","keyData":")" +
                                            EncodeBase64(SharedKey::Get().public_key) + "\"}]}",
                                        "policy");
  size_t tried = 0;
  for (size_t at = 0; at < kName.size(); ++at) {
    for (const char letter : {'a', 'z', '0', '-'}) {
      std::string name = kName;
      name[at] = letter;
      try {
        if (name == kName || PolicyName(DockerReference::Parse(name)) == DockerReference::Parse(kName)) {
          continue;
        }
      } catch (const Error&) {
        continue;  // no name at all
      }
      EXPECT_EQ(Decide(signature, Named(name), anywhere).code, "identity-mismatch") << name;
      ++tried;
    }
  }
  EXPECT_GT(tried, 30U);
}

// Whatever becomes of a policy by one byte, it allows nothing that nobody signed.
TEST(OpenPgpMutation, OfThePolicy) {
  const std::string text =
      R"({"default":[{"type":"reject"}],"transports":{"docker":{"h.example/foo":[{"type":"signedBy","keyType":)"
      R"("GPGKeys","keyPath":"/no/key.gpg","signedIdentity":{"type":"remapIdentity","prefix":"h.example",)"
      R"("signedPrefix":"other.example"}}],"*.example":[{"type":"anyOf","requirements":[{"type":"reject"}]}]}}})";
  size_t parsed = 0, refused = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      try {
        const Policy policy = Policy::Parse(changed, "policy");
        ++parsed;
        EXPECT_FALSE(Verifier::Decide(Named(kName), policy, {}).allowed) << changed;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << changed;
        ++refused;
      }
    }
  }
  EXPECT_GT(parsed, 300U);
  EXPECT_GT(refused, 1000U);
}

// The armor, the packet and the bytes of a detached signature.
TEST(OpenPgpMutation, OfASignedFile) {
  const SharedKey& key = SharedKey::Get();
  const std::string content = "the bytes of an App Container Image, which are signed as they are";
  const std::string binary = key.home.Run({"--local-user", key.fingerprint, "--detach-sign", "--output", "-"}, content);
  const std::string armored =
      key.home.Run({"--local-user", key.fingerprint, "--armor", "--detach-sign", "--output", "-"}, content);
  const KeyRing ring({key.public_key}, {"key"});
  const auto code = [&](const std::string& signature, const std::string& bytes) {
    const SignedMessage answer = ring.VerifyDetached(signature, *StringSource(bytes));
    return answer.problem ? answer.problem->code : "ok";
  };
  ASSERT_EQ(code(binary, content), "ok");
  ASSERT_EQ(code(armored, content), "ok");
  for (size_t at = 0; at < content.size(); ++at) {
    EXPECT_EQ(code(binary, Flipped(content, at)), "bad-signature") << at;
  }
  const std::set<size_t> skipped = Unsigned(binary);
  for (size_t at = 0; at < binary.size(); at += 2) {
    EXPECT_TRUE(skipped.contains(at) || code(Flipped(binary, at), content) != "ok") << at;
  }
  // Of the armor not its checksum, which RFC 9580 does away with, nor what is a hint in the packet.
  const size_t end = armored.find("\n=");
  for (size_t at = 0; at < end; at += 2) {
    const std::string changed = Flipped(armored, at);
    const auto decoded = DecodeDetachedSignature(changed);
    const bool same = decoded && [&] {
      for (size_t i = 0; i < std::min(decoded->size(), binary.size()); ++i) {
        if ((*decoded)[i] != DecodeDetachedSignature(armored)->at(i) && !skipped.contains(i)) {
          return false;
        }
      }
      return true;
    }();
    EXPECT_TRUE(same || code(changed, content) != "ok") << at;
  }
}

}  // namespace
}  // namespace gantry::sign
