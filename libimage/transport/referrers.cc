#include "libimage/transport/referrers.h"

#include <optional>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/percent.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/attach.h"

namespace gantry::image {
namespace {

constexpr int kNotFoundStatus = 404;

Index ParseList(std::string_view bytes, const std::string& what) {
  ManifestOrIndex parsed = ParseManifest(bytes, kOciIndexType);
  if (auto* const index = std::get_if<Index>(&parsed))
    return std::move(*index);
  throw Error(ErrorKind::kCorrupt, what + ": a manifest where a list was expected");
}

// Whether the registry says that it chose by type itself.
bool Filtered(const HttpResponse& response) {
  return LowerAscii(response.Header("oci-filters-applied")).find("artifacttype") != std::string::npos;
}

void AppendEntries(Index page, std::string_view artifact_type, bool filtered, const std::string& what,
                   std::vector<Descriptor>& into) {
  for (Descriptor& entry : page.manifests) {
    if (!artifact_type.empty() && !filtered && entry.artifact_type != artifact_type)
      continue;
    if (into.size() == kMaxReferrers)
      throw Error(ErrorKind::kCorrupt, what + ": more than " + std::to_string(kMaxReferrers));
    into.push_back(std::move(entry));
  }
}

}  // namespace

std::vector<Descriptor> ListReferrers(RegistryClient& registry, const Digest& subject, std::string_view artifact_type) {
  const std::string what = "referrers of " + subject.str();
  const std::string path = "referrers/" + subject.str();
  std::vector<Descriptor> found;
  HttpRequest request =
      registry.RequestFor(path + (artifact_type.empty() ? "" : "?artifactType=" + PercentEncoded(artifact_type)), what);
  request.max_body_bytes = kMaxManifestBytes;
  for (size_t page = 0; page < kMaxReferrerPages; ++page) {
    HttpResponse response = registry.Send(request);
    if (response.status == kNotFoundStatus && page == 0) {
      const std::string bytes = ReadTag(registry, ReferrersTag(subject), what).bytes;
      if (!bytes.empty())
        AppendEntries(ParseList(bytes, what), artifact_type, false, what, found);
      return found;
    }
    if (!response.ok())
      registry.ThrowStatus(response, what);
    AppendEntries(ParseList(response.body, what), artifact_type, Filtered(response), what, found);
    const auto next = registry.NextRequest(request, response, path);
    if (!next)
      return found;
    request = *next;
  }
  throw Error(ErrorKind::kCorrupt, what + ": more than " + std::to_string(kMaxReferrerPages) + " pages",
              "the registry is broken or hostile");
}

void WalkReferrers(RegistryClient& registry, DockerReference name, std::vector<Digest> subjects,
                   const TakeReferrer& take) {
  std::set<Digest> looked_at;
  std::vector<Digest> next;
  size_t taken = 0;
  const auto take_one = [&](const Digest& subject, const std::string& tag) {
    if (++taken > kMaxReferrers) {
      throw Error(ErrorKind::kCorrupt,
                  Quoted(name.ToString()) + ": more than " + std::to_string(kMaxReferrers) + " referrers");
    }
    name.tag = tag;
    if (const std::optional<Digest> digest = take(name, subject, tag))
      next.push_back(*digest);
  };
  for (size_t depth = 0; depth < kMaxReferrerDepth && !subjects.empty(); ++depth) {
    for (const Digest& subject : subjects) {
      if (!looked_at.insert(subject).second)
        continue;
      for (const Descriptor& listed : ListReferrers(registry, subject)) {
        name.digest = listed.digest;
        take_one(subject, "");
      }
      name.digest.reset();
      for (const std::string& tag : DigestTags(subject)) {
        if (tag != ReferrersTag(subject) && registry.HasTag(tag))
          take_one(subject, tag);
      }
    }
    subjects = std::exchange(next, {});
  }
}

}  // namespace gantry::image
