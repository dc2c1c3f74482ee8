#include "libsign/gpg_verify.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kPrefix = "[GNUPG:] ";
constexpr size_t kMaxStatusBytes = 256 * 1024;
constexpr std::string_view kBadHash = "5";  // GPG_ERR_DIGEST_ALGO
constexpr std::string_view kNoKey = "9";    // GPG_ERR_NO_PUBKEY
constexpr int kStatus = 3;
constexpr int kSignature = 4;

// At most `max_bytes`, and one more when there are more.
std::string Content(const UniqueFd& fd, size_t max_bytes, const char* name) {
  if (lseek(fd.get(), 0, SEEK_SET) < 0)
    ThrowErrno("rewind a file in memory");
  std::string content(max_bytes + 1, '\0');
  content.resize(ReadFull(fd.get(), std::as_writable_bytes(std::span(content)), name));
  return content;
}

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at)
      words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

bool IsOutcome(std::string_view keyword) {
  constexpr std::array<std::string_view, 6> kOutcomes = {"GOODSIG", "EXPSIG",    "EXPKEYSIG",
                                                         "BADSIG",  "REVKEYSIG", "ERRSIG"};
  return std::find(kOutcomes.begin(), kOutcomes.end(), keyword) != kOutcomes.end();
}

// doc/DETAILS of GnuPG: ERRSIG keyid pkalgo hashalgo class time rc fpr.
void NoteOutcome(const std::vector<std::string_view>& words, GpgVerdict& verdict) {
  ++verdict.outcomes;
  verdict.outcome = words[0];
  const std::string_view error = words[0] == "ERRSIG" && words.size() > 6 ? words[6] : std::string_view();
  verdict.no_key = error == kNoKey;
  verdict.bad_hash = error == kBadHash;
  const bool has_fingerprint = words[0] == "ERRSIG" && words.size() > 7 && words[7] != "-";
  verdict.key = has_fingerprint ? words[7] : words.size() > 1 ? words[1] : "";
}

// VALIDSIG fpr date created expires version reserved pkalgo hashalgo class primary-fpr. What it lacks is not valid.
void NoteValid(const std::vector<std::string_view>& words, GpgVerdict& verdict) {
  const auto created = words.size() > 10 ? ParseDecimal<int64_t>(words[3]) : std::nullopt;
  const auto hash = words.size() > 10 ? ParseDecimal<unsigned>(words[8]) : std::nullopt;
  if (!created || !hash)
    return;
  ++verdict.valid;
  verdict.key = words[1];
  verdict.primary = words[10];
  verdict.created = *created;
  verdict.hash = *hash;
}

// One run of gpg, from its beginning on.
class Gpg {
 public:
  Gpg(const std::string& home, const std::vector<std::string>& command, std::vector<std::pair<int, int>> fds)
      : status_(MemoryFile("status of gpg")), null_(OpenFile("/dev/null", O_RDWR)) {
    std::vector<std::string> argv = {"gpg",
                                     "--homedir",
                                     home,
                                     "--batch",
                                     "--no-tty",
                                     "--lock-never",
                                     "--status-fd",
                                     std::to_string(kStatus),
                                     "--no-random-seed-file"};
    argv.insert(argv.end(), command.begin(), command.end());
    if (std::ranges::find(fds, 1, &std::pair<int, int>::second) == fds.end())
      fds.emplace_back(null_.get(), 1);
    fds.emplace_back(null_.get(), 2);
    fds.emplace_back(status_.get(), kStatus);
    try {
      process_.emplace(Process::Start(argv, fds));
    } catch (const Error& error) {
      throw Error(ErrorKind::kFailed, "run gpg: " + error.message(), "install gpg (package gpg)");
    }
  }

  // Once it has all of its input.
  GpgVerdict Finish() {
    const bool failed = process_->Wait().code != 0;
    const std::string said = Content(status_, kMaxStatusBytes, "status of gpg");
    GpgVerdict verdict = said.size() > kMaxStatusBytes ? GpgVerdict() : ParseGpgStatus(said);
    verdict.failed = failed;
    return verdict;
  }

 private:
  UniqueFd status_, null_;
  std::optional<Process> process_;
};

// False when nobody reads any more.
bool WriteAll(int pipe, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(pipe, bytes.data(), bytes.size());
    if (n < 0 && errno == EPIPE)
      return false;
    if (n < 0 && errno != EINTR)
      ThrowErrno("write to gpg");
    bytes = bytes.subspan(n < 0 ? 0 : static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

GpgVerdict ParseGpgStatus(std::string_view status) {
  GpgVerdict verdict;
  for (size_t at = 0; at < status.size();) {
    const size_t end = std::min(status.find('\n', at), status.size());
    const std::string_view line = status.substr(at, end - at);
    at = end + 1;
    const std::vector<std::string_view> words =
        line.starts_with(kPrefix) ? Words(line.substr(kPrefix.size())) : std::vector<std::string_view>();
    if (words.empty())
      continue;
    verdict.plaintexts += words[0] == "PLAINTEXT";
    verdict.signatures += words[0] == "NEWSIG";
    if (IsOutcome(words[0]))
      NoteOutcome(words, verdict);
    else if (words[0] == "VALIDSIG")
      NoteValid(words, verdict);
  }
  return verdict;
}

GpgVerdict VerifyWithGpg(const std::string& home, std::string_view message, size_t max_payload) {
  // Files in memory: nobody has to read one channel while gpg writes to another.
  const UniqueFd input = MemoryFile("signed message", message);
  const UniqueFd output = MemoryFile("payload");
  Gpg gpg(home, {"--output", "-", "--decrypt"}, {{input.get(), 0}, {output.get(), 1}});
  GpgVerdict verdict = gpg.Finish();
  verdict.payload = Content(output, max_payload, "payload");
  return verdict;
}

GpgVerdict VerifyDetachedWithGpg(const std::string& home, std::string_view signature, Source& content) {
  const UniqueFd signature_file = MemoryFile("signature", signature);
  Pipe input = MakePipe();
  Gpg gpg(home, {"--enable-special-filenames", "--verify", "--", "-&" + std::to_string(kSignature), "-"},
          {{input.read.get(), 0}, {signature_file.get(), kSignature}});
  input.read.Reset();
  const PipeSignalBlocked blocked;
  bool taken = true;
  for (Block block = content.Next(); taken && !block.empty(); block = content.Next())
    taken = WriteAll(input.write.get(), block.bytes());
  input.write.Reset();
  GpgVerdict verdict = gpg.Finish();
  verdict.unread = !taken;
  return verdict;
}

}  // namespace gantry::sign
