#include "libsign/gpg_verify.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kPrefix = "[GNUPG:] ";
constexpr size_t kMaxStatusBytes = 256 * 1024;
constexpr std::string_view kNoKey = "9";  // GPG_ERR_NO_PUBKEY

UniqueFd MemoryFile(const char* name, std::string_view content = {}) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd)
    ThrowErrno("make a file in memory");
  WriteFull(fd.get(), AsBytes(content), name);
  if (lseek(fd.get(), 0, SEEK_SET) < 0)
    ThrowErrno("rewind a file in memory");
  return fd;
}

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
  verdict.no_key = words[0] == "ERRSIG" && words.size() > 6 && words[6] == kNoKey;
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
  const UniqueFd status = MemoryFile("status of gpg");
  const UniqueFd null = OpenFile("/dev/null", O_RDWR);
  const std::vector<std::string> argv = {
      "gpg",         "--homedir", home,       "--batch", "--no-tty", "--lock-never", "--no-random-seed-file",
      "--status-fd", "3",         "--output", "-",       "--decrypt"};
  bool failed = false;
  try {
    Process gpg = Process::Start(argv, {{input.get(), 0}, {output.get(), 1}, {null.get(), 2}, {status.get(), 3}});
    failed = gpg.Wait().code != 0;
  } catch (const Error& error) {
    throw Error(ErrorKind::kFailed, "run gpg: " + error.message(), "install gpg (package gpg)");
  }
  const std::string said = Content(status, kMaxStatusBytes, "status of gpg");
  GpgVerdict verdict = said.size() > kMaxStatusBytes ? GpgVerdict() : ParseGpgStatus(said);
  verdict.failed = failed;
  verdict.payload = Content(output, max_payload, "payload");
  return verdict;
}

}  // namespace gantry::sign
