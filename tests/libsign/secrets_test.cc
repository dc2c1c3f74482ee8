// Private keys and passphrases while they are used and after: all of this process's memory is searched for them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <fstream>
#include <sstream>
#include <string>

#include "libimage/base/fd.h"
#include "libsign/crypto.h"
#include "libsign/openpgp.h"
#include "libsign/sealed_key.h"
#include "tests/support/gpg_home.h"

namespace gantry::sign {
namespace {

constexpr char kMask = 0x5a;

// A secret that is not in memory as such.
std::string Masked(std::string_view secret) {
  std::string masked(secret);
  for (char& byte : masked) byte = static_cast<char>(byte ^ kMask);
  return masked;
}

struct Mapping {
  uintptr_t begin, end;
};

std::vector<Mapping> WritableMappings() {
  std::vector<Mapping> mappings;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    Mapping mapping{};
    char dash = 0;
    std::string access;
    fields >> std::hex >> mapping.begin >> dash >> mapping.end >> access;
    if (access.starts_with("rw"))
      mappings.push_back(mapping);
  }
  return mappings;
}

std::string FlagsOf(uintptr_t address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
      inside = begin <= address && address < end;
    else if (inside && line.starts_with("VmFlags:"))
      return line + " ";
  }
  return "";
}

// How often the secret is in the memory of this process; `flags`, unless it is null, gets those of the last place.
size_t CopiesInMemory(const std::string& masked, std::string* flags = nullptr) {
  static std::array<char, 1 << 16> buffer;
  const UniqueFd memory = OpenFile("/proc/self/mem", O_RDONLY);
  size_t copies = 0;
  for (const Mapping& mapping : WritableMappings()) {
    for (uintptr_t at = mapping.begin; at < mapping.end; at += buffer.size() / 2) {
      const size_t size = std::min<size_t>(buffer.size(), mapping.end - at);
      const ssize_t got = pread(memory.get(), buffer.data(), size, static_cast<off_t>(at));
      for (ssize_t i = 0; i + static_cast<ssize_t>(masked.size()) <= got; ++i) {
        const uintptr_t place = at + static_cast<uintptr_t>(i);
        const auto own = reinterpret_cast<uintptr_t>(buffer.data());
        size_t same = 0;
        while (same < masked.size() && (buffer[static_cast<size_t>(i) + same] ^ masked[same]) == kMask) ++same;
        // Each place is looked at twice where windows overlap: counted in the first half alone.
        const bool first = static_cast<size_t>(i) < buffer.size() / 2;
        if (same == masked.size() && first && (place < own || place >= own + buffer.size())) {
          ++copies;
          if (flags != nullptr)
            *flags = FlagsOf(place);
        }
      }
    }
  }
  buffer.fill(0);
  return copies;
}

std::string RandomWord() {
  std::string word;
  for (const char byte : RandomBytes(24)) word += static_cast<char>('a' + static_cast<unsigned char>(byte) % 26);
  return word;
}

// The secret number of an Ed25519 key is the end of its PKCS #8 form.
std::string MaskedSeed(const PrivateKey& key) {
  const SecretBytes der = key.ToPkcs8();
  return Masked(der.view().substr(der.size() - 32));
}

TEST(Secrets, TheSearchFindsWhatIsThere) {
  std::string word = RandomWord();
  const std::string masked = Masked(word);
  EXPECT_GE(CopiesInMemory(masked), 1U);
  WipeText(word);
  EXPECT_EQ(CopiesInMemory(masked), 0U);
}

TEST(Secrets, LieInMemoryThatIsLockedAndInNoCoreDump) {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < (1U << 20))
    GTEST_SKIP() << "no memory may be locked here";
  std::string masked, flags;
  {
    const SecretBytes word(RandomBytes(24));
    masked = Masked(word.view());
    EXPECT_EQ(CopiesInMemory(masked, &flags), 1U);
    EXPECT_NE(flags.find(" lo "), std::string::npos) << flags;
    EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  }
  EXPECT_EQ(CopiesInMemory(masked), 0U);
}

TEST(Secrets, OfKeysAreGoneAfterUse) {
  std::string word = RandomWord();
  const std::string masked_word = Masked(word);
  std::string masked_seed, sealed, encrypted;
  {
    const SecretBytes passphrase(word);
    WipeText(word);
    const PrivateKey key = PrivateKey::Generate(KeyKind::kEd25519);
    masked_seed = MaskedSeed(key);
    sealed = SealKey(key, passphrase);
    encrypted = key.ToEncryptedPem(passphrase);
    for (const std::string& text : {sealed, encrypted}) {
      const PrivateKey read = ReadPrivateKey(text, "key", &passphrase);
      for (const auto kind : {Scheme::Kind::kEd25519, Scheme::Kind::kEd25519ph})
        EXPECT_FALSE(read.Sign({kind, KeyHash::kSha256}, "message").empty());
    }
    std::string flags;
    EXPECT_GE(CopiesInMemory(masked_seed, &flags), 1U);
    EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  }
  EXPECT_EQ(CopiesInMemory(masked_seed), 0U);
  EXPECT_EQ(CopiesInMemory(masked_word), 0U);
}

TEST(Secrets, OfOpenPgpKeysAreGoneAfterUse) {
  const testing::GpgHome home;
  std::string word = RandomWord();
  const std::string masked = Masked(word);
  const testing::TempDir dir;
  const std::string file = dir.path() + "/word";
  {
    const UniqueFd out = OpenFile(file, O_WRONLY | O_CREAT);
    WriteFull(out.get(), AsBytes(word), file);
  }
  WipeText(word);
  home.Run({"--pinentry-mode", "loopback", "--passphrase-file", file, "--quick-generate-key", "locked <l@x.example>",
            "ed25519", "sign", "never"});
  {
    const SecretBytes passphrase(ReadFile(file, 100));
    EXPECT_FALSE(SignMessage("payload", {"l@x.example", home.path(), &passphrase}).message.empty());
  }
  EXPECT_EQ(CopiesInMemory(masked), 0U);
}

}  // namespace
}  // namespace gantry::sign
