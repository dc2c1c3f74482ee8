// gantry-sync: many images from registries into one, under the trust policy.
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/convert/sync_plan.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/certificates.h"
#include "libsign/registries_d.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/registry_prefix.h"
#include "tools/sync_list.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct SyncOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::vector<std::string> arguments;  // sources, then the destination
  std::vector<std::string> lists, yamls;
  std::string platform;
  std::string suffix;
  size_t jobs = 8;
  bool scoped = false;
  bool referrers = false;
  bool dry_run = false;
  bool keep_going = false;
  bool json = false;
};

// One image to be copied.
struct SyncTask {
  size_t origin;
  image::DockerReference from, to;
};

// What became of it.
struct SyncOutcome {
  SyncTask task;
  std::optional<image::SyncResult> result = std::nullopt;  // nullopt: it failed
  std::optional<Error> error = std::nullopt;
};

SyncList ReadLists(const SyncOptions& options) {
  SyncList list;
  for (size_t i = 0; i + 1 < options.arguments.size(); ++i) list.entries.push_back(ParseSyncName(options.arguments[i]));
  for (const std::string& file : options.lists) AddLines(ReadFile(file, kMaxSyncFileBytes), Quoted(file), list);
  for (const std::string& file : options.yamls) AddYaml(ReadFile(file, kMaxSyncFileBytes), Quoted(file), list);
  if (list.entries.empty())
    throw Error(ErrorKind::kUsage, "no image is named", "gantry-sync docker://NAME... docker://HOST/[PATH/]");
  return list;
}

image::DockerReference ParseTarget(const std::string& text) {
  const auto prefix = ParsePrefix(text.ends_with('/') ? text : text + "/");
  if (!prefix)
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no place in a registry", "docker://HOST[:PORT]/[PATH/]");
  return *prefix;
}

// The repositories that images come from, each once.
class Origins {
 public:
  Origins(const SyncOptions& options, const SyncList& list, const sign::RegistriesD& registries)
      : options_(options), list_(list), registries_(registries) {}

  size_t NumberOf(const image::DockerReference& name) {
    const auto [known, added] = numbers_.emplace(name.Repository(), origins_.size());
    if (added)
      origins_.push_back(Make(name));
    return known->second;
  }
  std::vector<image::SyncOrigin> Take() { return std::move(origins_); }

 private:
  image::SyncOrigin Make(image::DockerReference name) const {
    name.tag.clear();
    name.digest.reset();
    image::SyncOrigin origin{.name = name, .sources = FetchSourcesOf(options_.policy, name)};
    for (image::FetchSource& source : origin.sources) source.http = WithNotes(source.http, options_.common);
    for (const std::string& base : registries_.LookasideFor(name)) {
      if (!sign::LookasideDirectory(base))
        origin.lookasides.push_back(base);
    }
    const auto settings = list_.registries.find(name.host);
    if (settings == list_.registries.end())
      return origin;
    origin.credentials = settings->second.credentials;
    image::HttpOptions& http = origin.sources.back().http;
    if (!settings->second.verify_tls) {
      http.verify_tls = false;
      http.allow_http = true;
    }
    const auto url = image::Url::Parse("https://" + origin.sources.back().name.host + "/");
    if (!settings->second.certificates.empty() && url)
      http.certificates.insert_or_assign(url->Origin(), image::ReadCertificates(settings->second.certificates));
    return origin;
  }

  const SyncOptions& options_;
  const SyncList& list_;
  const sign::RegistriesD& registries_;
  std::map<std::string, size_t> numbers_;
  std::vector<image::SyncOrigin> origins_;
};

class Run {
 public:
  Run(const SyncOptions& options, image::Syncer& syncer, image::DockerReference target, const sign::Policy& policy,
      const sign::RegistriesD& registries)
      : options_(options),
        syncer_(syncer),
        target_(std::move(target)),
        policy_(policy),
        registries_(registries),
        selection_{ParsePlatforms(options.platform), options.referrers, options.dry_run} {}

  // All of a repository that the entry chooses. Tags that are made of digests are signatures: they are no images.
  void AddEntry(const SyncEntry& entry, size_t origin) {
    if (!entry.name.tag.empty() || entry.name.digest)
      return AddTask(origin, entry.name);
    size_t chosen = 0;
    try {
      for (const std::string& tag : syncer_.ListTags(origin)) {
        if ((entry.filter && !entry.filter(tag)) || image::SubjectOfTag(tag))
          continue;
        image::DockerReference name = entry.name;
        name.tag = tag;
        AddTask(origin, name);
        ++chosen;
      }
    } catch (const Error& error) {
      Fail({origin, entry.name, entry.name}, error.WithContext("tags of " + Quoted(entry.name.Repository())));
      return;
    }
    if (chosen == 0) {
      Warn(options_.common, "no tag of " + Quoted(entry.name.Repository()) +
                                (entry.filtered_by.empty() ? "" : " fits " + Quoted(entry.filtered_by)) +
                                ": nothing of it is copied");
    }
  }

  // Returns the exit code.
  int Work() {
    while (MayBegin() || !running_.empty()) {
      while (MayBegin() && running_.size() < options_.jobs) Begin();
      if (!running_.empty())
        Advance();
    }
    return Report();
  }

 private:
  struct Running {
    SyncTask task;
    image::SyncJob job;
  };

  void AddTask(size_t origin, const image::DockerReference& name) {
    image::DockerReference to = Below(target_, name, options_.scoped);
    if (!options_.suffix.empty() && !to.tag.empty())
      to.tag += options_.suffix;
    to = image::DockerReference::Parse(to.ToString());
    if (seen_.insert(name.ToString() + " " + to.ToString()).second)
      tasks_.push_back({origin, name.WithDefaultTag(), to});
  }

  bool MayBegin() const { return !tasks_.empty() && (failed_ == 0 || options_.keep_going); }

  void Begin() {
    SyncTask task = std::move(tasks_.front());
    tasks_.pop_front();
    image::SyncJob job = syncer_.Copy(task.origin, task.from, task.to, selection_);
    running_.push_back({std::move(task), std::move(job)});
  }

  void Advance() {
    std::vector<pollfd> waiting;
    for (const Running& one : running_) waiting.push_back({.fd = one.job.fd(), .events = POLLIN, .revents = 0});
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR)
      ThrowErrno("wait for registries");
    for (size_t i = waiting.size(); i-- > 0;) {
      if (waiting[i].revents != 0 && StepOne(running_[i]))
        running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  // Whether it is over.
  bool StepOne(Running& one) {
    try {
      if (!one.job.Step([&](const image::SyncOffer& offer) { return Decide(one.task, offer); }))
        return false;
      outcomes_.push_back({one.task, one.job.result()});
      Tell(outcomes_.back());
    } catch (const Error& error) {
      Fail(one.task, error);
    }
    return true;
  }

  image::SyncCopy Decide(const SyncTask& task, const image::SyncOffer& offer) const {
    const auto verify = [&](auto fetched) {
      const sign::Evidence evidence = EvidenceFor(task, offer, sign::Judged(fetched).descriptor().digest);
      return sign::Verifier::Verify(std::move(fetched), policy_, evidence);
    };
    return PlanSync(offer, selection_.platforms, task.from, verify, verify);
  }

  sign::Evidence EvidenceFor(const SyncTask& task, const image::SyncOffer& offer, const Digest& manifest) const {
    const sign::PolicyRule rule = policy_.RuleFor(task.from);
    sign::Evidence evidence;
    const auto add = [&](image::FoundSignatures found) {
      for (std::string& signature : found.signatures) evidence.Add(std::move(signature));
      evidence.looked_at.insert(evidence.looked_at.end(), found.looked_at.begin(), found.looked_at.end());
    };
    if (HasWebLookaside(task.from))
      add(offer.FindSignatures(manifest));
    if (rule.WantsAttachments())
      add(offer.FetchAttachments(manifest));
    sign::GatherLookaside(registries_, task.from, manifest, evidence);
    return evidence;
  }

  bool HasWebLookaside(const image::DockerReference& name) const {
    const std::vector<std::string> places = registries_.LookasideFor(name);
    return std::any_of(places.begin(), places.end(),
                       [](const std::string& place) { return !sign::LookasideDirectory(place); });
  }

  void Fail(const SyncTask& task, const Error& error) {
    ++failed_;
    outcomes_.push_back({task, std::nullopt, error});
    PrintError(error.WithContext(Quoted(task.from.ToString())));
  }

  static std::string_view Word(const SyncOutcome& outcome) {
    if (!outcome.result)
      return "failed";
    switch (outcome.result->state) {
      case image::SyncState::kCopied:
        return "copied";
      case image::SyncState::kSame:
        return "same";
      case image::SyncState::kWouldCopy:
        return "would copy";
    }
    return "";
  }

  void Tell(const SyncOutcome& outcome) const {
    if (options_.json || options_.common.quiet)
      return;
    const std::string& digest = outcome.result->digest;
    std::printf("%-10s %s  %s\n", std::string(Word(outcome)).c_str(), digest.empty() ? "-" : digest.c_str(),
                image::Reference(outcome.task.to).ToString().c_str());
    std::fflush(stdout);
  }

  // 1 when a part failed, or was not tried after a failure; when nothing went well, what the first failure was.
  int Report() const {
    const size_t good = outcomes_.size() - failed_;
    if (options_.json)
      std::printf("%s\n", json::Print(Summary()).c_str());
    if (failed_ == 0)
      return 0;
    const auto first =
        std::find_if(outcomes_.begin(), outcomes_.end(), [](const SyncOutcome& one) { return one.error; });
    Warn(options_.common, std::to_string(failed_) + " of " + std::to_string(outcomes_.size() + tasks_.size()) +
                              " images failed" +
                              (tasks_.empty() ? "" : ", and " + std::to_string(tasks_.size()) + " were not tried"));
    return good > 0 ? static_cast<int>(ErrorKind::kFailed) : static_cast<int>(first->error->kind());
  }

  json::Object Summary() const {
    std::map<std::string_view, uint64_t> count;
    uint64_t bytes = 0;
    uint64_t referrers = 0;
    json::Array images;
    for (const SyncOutcome& outcome : outcomes_) {
      ++count[Word(outcome)];
      json::Object one{{"source", outcome.task.from.ToString()},
                       {"destination", outcome.task.to.ToString()},
                       {"state", Word(outcome)}};
      if (outcome.result) {
        bytes += outcome.result->bytes;
        referrers += outcome.result->referrers;
        one.Append("digest", outcome.result->digest);
        one.Append("bytes", outcome.result->bytes);
      } else {
        one.Append("error", outcome.error->message());
        one.Append("code", static_cast<int>(outcome.error->kind()));
      }
      images.emplace_back(std::move(one));
    }
    return {{"copied", count["copied"]},
            {"same", count["same"]},
            {"wouldCopy", count["would copy"]},
            {"failed", count["failed"]},
            {"notTried", static_cast<uint64_t>(tasks_.size())},
            {"bytes", bytes},
            {"referrers", referrers},
            {"images", std::move(images)}};
  }

  const SyncOptions& options_;
  image::Syncer& syncer_;
  const image::DockerReference target_;
  const sign::Policy& policy_;
  const sign::RegistriesD& registries_;
  const image::SyncSelection selection_;
  std::deque<SyncTask> tasks_;
  std::set<std::string> seen_;
  std::vector<Running> running_;
  std::vector<SyncOutcome> outcomes_;
  size_t failed_ = 0;
};

int PrintConfinements(const SyncOptions& options) {
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  std::printf("the process with the network:\n%s\nthe process that decides:\n%s",
              image::Describe(PushConfinement()).c_str(),
              image::Describe(DecisionConfinement(policy, sign::RegistriesD::Load())).c_str());
  return 0;
}

int Main(const SyncOptions& options) {
  if (options.common.print_confinement)
    return PrintConfinements(options);
  if (options.arguments.empty())
    throw Error(ErrorKind::kUsage, "no destination is named", "gantry-sync docker://NAME... docker://HOST/[PATH/]");
  const image::DockerReference target = ParseTarget(options.arguments.back());
  const SyncList list = ReadLists(options);
  const sign::RegistriesD registries = sign::RegistriesD::Load();
  Origins origins(options, list, registries);
  std::vector<size_t> numbers;
  for (const SyncEntry& entry : list.entries) numbers.push_back(origins.NumberOf(entry.name));
  image::Syncer syncer =
      image::Syncer::Start({.origins = origins.Take(),
                            .destination = target,
                            .http = WithNotes(HttpOptionsOf(options.policy, target), options.common),
                            .jobs = options.jobs,
                            .signature_url = sign::SignatureUrl,
                            .confine = [common = options.common] { Confine(common, PushConfinement()); }});
  WarnOfInsecureNetwork(options.policy, "copied");
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  Confine(options.common, DecisionConfinement(policy, registries));
  Run run(options, syncer, target, policy, registries);
  for (size_t i = 0; i < list.entries.size(); ++i) run.AddEntry(list.entries[i], numbers[i]);
  return run.Work();
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Copy many images from registries into one, under the trust policy.", "gantry-sync");
  SyncOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("--list", options.lists, "a file with the name of an image or a repository on each line")
      ->type_name("FILE")
      ->allow_extra_args(false);
  app.add_option("--yaml", options.yamls, "a file of images by registry, as skopeo sync has it")
      ->type_name("FILE")
      ->allow_extra_args(false);
  app.add_option("--platform", options.platform, "of an index, the image for this platform, or an index over several")
      ->type_name("OS/ARCH[/VARIANT][,...]");
  app.add_flag("--scoped", options.scoped, "below DST go the whole names of images, with their hosts");
  app.add_option("--append-suffix", options.suffix, "is added to each tag")->type_name("SUFFIX");
  app.add_flag("--referrers", options.referrers, "what refers to the images, too: signatures, attestations");
  app.add_flag("--dry-run", options.dry_run, "compare, and copy nothing");
  app.add_flag("--keep-going", options.keep_going, "go on after an image that failed");
  app.add_option("-j,--jobs", options.jobs, "how many images at a time, 8 by default")
      ->type_name("N")
      ->check(CLI::Range(size_t{1}, gantry::image::kMaxSyncJobs));
  app.add_flag("--json", options.json, "print one JSON object about all of it");
  app.add_option("SRC... DST", options.arguments,
                 "docker://NAME[:TAG|@DIGEST], all tags of a name without one; then docker://HOST[:PORT]/[PATH/]");
  return ToolMain(app, argc, argv, [&] { return Main(options); });
}
