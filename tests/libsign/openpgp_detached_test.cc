// Detached signatures, as they lie beside App Container Images.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/openpgp.h"
#include "libsign/openpgp_packets.h"
#include "tests/support/gpg_home.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;
using testing::GpgHome;
using testing::SharedKey;
using testing::TempDir;

class Detached : public ::testing::Test {
 protected:
  Detached() { Write("content", "the bytes of an image\r\n and more\n"); }

  void Write(const std::string& name, std::string_view bytes) const {
    dir_.dir().WriteFileAtomically(RelPath::Parse(name), bytes);
  }
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::unique_ptr<Source> Content(const std::string& name) const {
    return FdSource(OpenFile(Path(name), O_RDONLY), name);
  }
  // What gpg makes of the content.
  std::string Sign(std::vector<std::string> options = {}, const std::string& key = SharedKey::Get().fingerprint) const {
    for (const char* more : {"--local-user", key.c_str(), "--detach-sign", "--output", "-"}) {
      options.emplace_back(more);
    }
    options.push_back(Path("content"));
    return home_.Run(options);
  }
  std::string CodeOf(const std::string& signature, const std::string& content = "content") const {
    const KeyRing ring({SharedKey::Get().public_key}, {"test key"});
    const SignedMessage answer = ring.VerifyDetached(signature, *Content(content));
    return answer.problem ? answer.problem->code : "ok";
  }

  const GpgHome& home_ = SharedKey::Get().home;
  TempDir dir_;
};

TEST_F(Detached, TakesWhatGpgSigned) {
  EXPECT_EQ(CodeOf(Sign()), "ok");
  EXPECT_EQ(CodeOf(Sign({"--armor"})), "ok");
  const KeyRing ring({SharedKey::Get().public_key}, {"test key"});
  const SignedMessage answer = ring.VerifyDetached(Sign(), *Content("content"));
  EXPECT_EQ(answer.fingerprint, SharedKey::Get().fingerprint);
  EXPECT_GT(answer.created, 1'600'000'000);
}

TEST_F(Detached, GpgTakesWhatIsMadeHere) {
  const MadeSignature made = SignDetached(*Content("content"), {SharedKey::Get().fingerprint, home_.path()});
  EXPECT_TRUE(made.message.starts_with("-----BEGIN PGP SIGNATURE-----"));
  Write("content.asc", made.message);
  home_.Run({"--verify", Path("content.asc"), Path("content")});
  EXPECT_EQ(CodeOf(made.message), "ok");
}

TEST_F(Detached, RefusesOtherContentAndEveryFlippedByte) {
  const std::string signature = Sign();
  Write("other", "the bytes of an image\n and more\n");
  EXPECT_EQ(CodeOf(signature, "other"), "bad-signature");
  const auto packet = WalkPackets(signature).value().front();
  const size_t start = signature.size() - packet.body.size();
  const auto length = [&](size_t at) {
    return static_cast<size_t>(static_cast<unsigned char>(signature[at])) << 8 |
           static_cast<unsigned char>(signature[at + 1]);
  };
  // What stands between the two lengths is signed; the hints behind are not, nor are the first two octets of the hash
  // behind those, and both decide nothing (RFC 4880, 5.2.3).
  const size_t hints = start + 6 + length(start + 4);
  const size_t hints_end = hints + 2 + length(hints) + 2;
  for (size_t at = 0; at < signature.size(); at += 5) {
    if (at >= hints && at < hints_end) {
      continue;
    }
    std::string changed = signature;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_NE(CodeOf(changed), "ok") << at;
  }
}

TEST_F(Detached, RefusesTextModeInWhichOtherBytesWouldPass) {
  EXPECT_EQ(CodeOf(Sign({"--textmode"})), "not-one-message");
}

TEST_F(Detached, RefusesConcatenatedSignaturesAndWhatIsAround) {
  const std::string armored = Sign({"--armor"});
  const std::string binary = Sign();
  for (const std::string& text : {armored + armored, armored + "x", "x" + armored, binary + binary, binary + "x",
                                  std::string(), armored.substr(0, armored.size() / 2)}) {
    EXPECT_EQ(CodeOf(text), "not-one-message") << text;
  }
  EXPECT_EQ(CodeOf(home_.Sign(SharedKey::Get().fingerprint, "x")), "not-one-message");
  EXPECT_EQ(CodeOf(home_.Run(
                {"--local-user", SharedKey::Get().fingerprint, "--clear-sign", "--output", "-", Path("content")})),
            "not-one-message");
}

TEST_F(Detached, RefusesWeakDigestsDatesInTheFutureAndOtherKeys) {
  EXPECT_EQ(CodeOf(Sign({"--digest-algo", "SHA1", "--allow-weak-digest-algos"})), "weak-digest");
  EXPECT_EQ(CodeOf(Sign({"--faked-system-time", "20400101T000000"})), "future-signature");
  EXPECT_EQ(CodeOf(Sign({}, home_.Generate("other <other@gantry.example>"))), "unknown-key");
}

// A notation is none of the plain cases: gpg has the word, and reads all of the content from a pipe.
TEST_F(Detached, GpgIsAskedWhereASignatureIsNotPlain) {
  const std::string large(3'000'000, 'x');
  Write("content", large);
  const std::string signature = Sign({"--sig-notation", "a@x.example=b"});
  EXPECT_EQ(CodeOf(signature), "ok");
  Write("other", large + "x");
  EXPECT_EQ(CodeOf(signature, "other"), "bad-signature");
}

// It says all that a good signature needs, and has not seen the content: no status of it counts.
TEST_F(Detached, IsRefusedWhenGpgEndsBeforeItHasReadAll) {
  Write("content", std::string(3'000'000, 'x'));
  const std::string signature = Sign({"--sig-notation", "a@x.example=b"});
  const std::string& key = SharedKey::Get().fingerprint;
  const std::string good = "printf '[GNUPG:] NEWSIG\\n[GNUPG:] GOODSIG " + key + " test\\n[GNUPG:] VALIDSIG " + key +
                           " 2026-11-25 1700000000 0 4 0 22 8 00 " + key + "\\n' >&3\n";
  const KeyRing ring({SharedKey::Get().public_key}, {"test key"});
  const auto answer = [&](const std::string& script) {
    const testing::FakeGpg fake(script);
    return ring.VerifyDetached(signature, *Content("content")).problem.value_or(BadSignature{"ok", ""});
  };
  EXPECT_EQ(answer("wc -c >/dev/null\n" + good).code, "ok");
  for (const char* ends : {"exit 0\n", "exit 1\n", "kill -9 $$\n"}) {
    EXPECT_EQ(answer(good + ends).code, "bad-signature") << ends;
    EXPECT_EQ(answer(good + ends).reason, "gpg ended before it had read all that is signed (key " + key + ")") << ends;
    EXPECT_EQ(answer(ends).code, "not-one-message") << ends;
  }
  EXPECT_EQ(answer("wc -c >/dev/null\n" + good + "exit 1\n").reason, "gpg does not accept it (key " + key + ")");
  EXPECT_EQ(CodeOf(signature), "ok");
}

TEST_F(Detached, ThrowsWhatItsContentThrows) {
  struct Broken : public Source {
    Block Next() override { throw Error(ErrorKind::kCorrupt, "the content is broken"); }
  };
  const KeyRing ring({SharedKey::Get().public_key}, {"test key"});
  for (const std::string& signature : {Sign(), Sign({"--sig-notation", "a@x.example=b"})}) {
    Broken content;
    EXPECT_EQ(CaughtError([&] { ring.VerifyDetached(signature, content); }).message(), "the content is broken");
  }
}

}  // namespace
}  // namespace gantry::sign
