#include "tools/bring_image.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "tools/appc_files.h"
#include "tools/local_parts.h"
#include "tools/registries.h"

namespace gantry::tools {

namespace local {

bool IsPlatform(const image::Platform& is, const std::string& wanted_text) {
  if (wanted_text.empty())
    return true;
  const auto wanted = image::Platform::Parse(wanted_text);
  return is.os == wanted.os && is.architecture == wanted.architecture &&
         (wanted.variant.empty() || is.variant == wanted.variant);
}

bool IsFetchable(const image::Reference& reference) {
  const auto* stored = reference.store();
  return reference.docker() != nullptr || (stored != nullptr && !stored->explicitly_store);
}

}  // namespace local

namespace {

using namespace local;
using image::FetchedImage;
using image::Reference;
using image::StoreReference;

constexpr size_t kMaxFetchOutput = 64 * 1024;

// What a bare name may stand for; nothing for a digest.
std::vector<image::DockerReference> Candidates(const std::string& name) {
  if (Digest::TryParse(name) || name.find_first_not_of("0123456789abcdef") == std::string::npos)
    return {};
  return ResolveShortName(name);
}

bool IsHere(const std::string& name, const std::string& platform, const std::string& root) {
  const auto store = image::Store::OpenReadOnly(root);
  const auto found = store != nullptr ? store->Resolve(name) : std::nullopt;
  if (!found || platform.empty())
    return found.has_value();
  const image::Fetched loaded = store->LoadAny(*found);
  const auto* fetched = std::get_if<FetchedImage>(&loaded);
  return fetched == nullptr || IsPlatform(fetched->image().config.platform, platform);
}

// The name under which the store has what a bare name may stand for; nullopt for docker://, which is always asked for.
std::optional<Reference> FindHere(const Reference& reference, const std::string& platform, const std::string& root) {
  if (reference.docker() != nullptr)
    return std::nullopt;
  const std::string& name = reference.store()->name;
  if (IsHere(name, platform, root))
    return reference;
  for (const image::DockerReference& candidate : Candidates(name)) {
    const std::string full = candidate.WithDefaultTag().ToString();
    if (IsHere(full, platform, root))
      return Reference(StoreReference{full, false});
  }
  return std::nullopt;
}

std::vector<std::string> FetchCommand(const Reference& reference, const std::vector<std::string>& selection,
                                      const PolicyOptions& policy, const CommonOptions& common) {
  std::vector<std::string> argv{Sibling("gantry-fetch"), "--root", StoreRoot(common)};
  argv.insert(argv.end(), selection.begin(), selection.end());
  if (common.quiet)
    argv.emplace_back("--quiet");
  if (common.verbose)
    argv.emplace_back("--verbose");
  for (const std::string& argument : policy.Arguments()) argv.push_back(argument);
  argv.push_back(reference.ToString());
  return argv;
}

constexpr const char* kMaybeKilled = "was it killed? see the kernel's log for 'Out of memory'";

// When it failed it has said why, unless it could not.
void RequireSuccess(const ExitStatus& fetch) {
  if (fetch.signalled)
    throw Error(ErrorKind::kFailed, "gantry-fetch was ended by signal " + std::to_string(fetch.code - 128),
                kMaybeKilled);
  if (fetch.code != 0)
    throw ChildFailed{fetch.code};
}

// What it prints.
std::string RunFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  const Captured fetched = RunCaptured(FetchCommand(reference, selection, policy, common), "", kMaxFetchOutput);
  RequireSuccess(fetched.status);
  return fetched.output;
}

// Of what gantry-fetch prints; empty when it ends without one.
std::string NextLine(int output) {
  std::string line;
  for (char c = 0; ReadFull(output, std::as_writable_bytes(std::span(&c, 1)), "what gantry-fetch says") == 1;) {
    if (c == '\n')
      return line;
    if (line.size() == kMaxFetchOutput)
      break;
    line += c;
  }
  return {};
}

// What was fetched by an appc name before, else now.
Reference BringAppcHere(const Reference& reference, const std::string& platform, const PolicyOptions& policy,
                        const CommonOptions& common) {
  Reference file = AsFile(reference, platform, StoreRoot(common));
  if (access(file.file()->path.c_str(), F_OK) != 0)
    RunFetch(reference, ForPlatform(platform), policy, common);
  return file;
}

}  // namespace

std::string Sibling(const std::string& name) {
  const std::string beside = ProgramDirectory() + "/" + name;
  return access(beside.c_str(), X_OK) == 0 ? beside : name;
}

LocalName Fetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                const CommonOptions& common) {
  const std::string said = RunFetch(reference, selection, policy, common);
  // The digest pins what was verified and named a moment ago.
  const std::string line = said.substr(0, said.find('\n'));
  const size_t at = line.rfind('@');
  if (at == std::string::npos)
    throw Error(ErrorKind::kFailed, "gantry-fetch answered " + Quoted(line) + " instead of NAME@DIGEST");
  return {Reference(StoreReference{line.substr(0, at), true}), Digest::Parse(line.substr(at + 1))};
}

LocalName BeginFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  std::vector<std::string> argv = FetchCommand(reference, selection, policy, common);
  argv.insert(argv.end(), {"--json", "--early"});
  Pipe in = MakePipe(), out = MakePipe();
  const auto fetching = std::make_shared<Fetching>(
      Fetching{Process::Start(argv, {{in.read.get(), STDIN_FILENO}, {out.write.get(), STDOUT_FILENO}}),
               std::move(out.read),
               {}});
  out.write.Reset();
  const std::string said = NextLine(fetching->output.get());
  if (said.empty()) {
    RequireSuccess(fetching->process.Wait());
    throw Error(ErrorKind::kFailed, "gantry-fetch ended well and said nothing of what it brought");
  }
  const json::Value value = json::Parse(said, "what gantry-fetch says");
  const json::Cursor line(value, "what gantry-fetch says");
  fetching->media_type = line.At("mediaType").String();
  return {.reference = Reference(StoreReference{line.At("name").String(), true}),
          .pinned = Digest::Parse(line.At("digest").String()),
          .fetching = fetching};
}

void AwaitChecked(Fetching& fetching) {
  if (!NextLine(fetching.output.get()).empty())
    return;
  RequireSuccess(fetching.process.Wait());
  throw Error(ErrorKind::kFailed, "gantry-fetch ended well and has not brought all layers");
}

void AwaitEnd(Fetching& fetching) { RequireSuccess(fetching.process.Wait()); }

std::unique_ptr<ArrivingBlobs> BlobsBeside(std::shared_ptr<const image::Store> store,
                                           std::shared_ptr<const Fetching> fetching) {
  const auto given_up = std::make_shared<Pipe>(MakePipe());
  const auto await = [fetching = std::move(fetching), given_up] {
    std::array<pollfd, 2> polls{pollfd{fetching->output.get(), POLLIN, 0}, pollfd{given_up->read.get(), POLLIN, 0}};
    while (poll(polls.data(), polls.size(), -1) < 0 && errno == EINTR) {
    }
    // What it says there the parent reads.
    if ((polls[0].revents & POLLIN) == 0)
      throw Error(ErrorKind::kFailed, "gantry-fetch has not brought all layers", kMaybeKilled);
  };
  const auto give_up = [given_up] { WriteFull(given_up->write.get(), AsBytes("."), "a pipe"); };
  return std::make_unique<ArrivingBlobs>(std::move(store), await, give_up);
}

bool IsInStore(const image::DockerReference& name, const std::string& platform, const std::string& root) {
  return IsHere(name.WithDefaultTag().ToString(), platform, root);
}

std::vector<std::string> ForPlatform(const std::string& platform) {
  return platform.empty() ? std::vector<std::string>() : std::vector<std::string>{"--platform", platform};
}

std::vector<std::string> OfImage(const std::string& platform) {
  std::vector<std::string> out = ForPlatform(platform);
  out.emplace_back("--only-image");
  return out;
}

namespace {

using Selection = std::vector<std::string>(const std::string& platform);

// What `fetch` brings when it is not here.
template <typename FetchIt>
LocalName Bring(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                const CommonOptions& common, FetchIt fetch, Selection* selection) {
  const Reference reference = Reference::Parse(text);
  if (reference.appc() != nullptr)
    return {BringAppcHere(reference, platform, policy, common)};
  if (!IsFetchable(reference))
    return {reference};
  if (auto here = FindHere(reference, platform, StoreRoot(common)))
    return {*here};
  return fetch(reference, selection(platform), policy, common);
}

}  // namespace

LocalName BringHere(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                    const CommonOptions& common) {
  return Bring(text, platform, policy, common, Fetch, OfImage);
}

LocalName BringBeginning(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                         const CommonOptions& common) {
  return Bring(text, platform, policy, common, BeginFetch, ForPlatform);
}

LocalName BringAllHere(const std::string& text, const std::string& platforms, const PolicyOptions& policy,
                       const CommonOptions& common) {
  const Reference reference = Reference::Parse(text);
  if (!IsFetchable(reference))
    return {reference};
  if (auto here = FindHere(reference, {}, StoreRoot(common)))
    return {*here};
  const std::vector<std::string> all = {"--all"};
  return Fetch(reference, platforms.empty() ? all : ForPlatform(platforms), policy, common);
}

}  // namespace gantry::tools
