// What clients of gantry-serve ask for, out of the paths by which they ask, and what that is called upstream
// (gantry-serve(8), NAMES). Parsing does no I/O and trusts nothing: what is left of a path is a name that the grammar
// of references takes, or there is no request.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/descriptor.h"
#include "libimage/model/reference.h"

namespace gantry::serve {

constexpr size_t kMaxUpstreams = 100;

// How an image is to be encoded: the words behind the last "--" of its name, "alpine--docker-gzip-squashed".
struct Form {
  std::string manifest;     // "oci", "docker"; empty: as upstream has it
  std::string compression;  // "gzip", "zstd"; empty: as upstream has it
  bool squashed = false;

  bool as_upstream() const { return manifest.empty() && compression.empty() && !squashed; }
  // "docker-gzip-squashed": one spelling, whatever the order in which the words came.
  std::string ToString() const;
  // nullopt for a word that is none, and for two of a kind.
  static std::optional<Form> Parse(std::string_view words);
  friend bool operator==(const Form&, const Form&) = default;
};

// "library/alpine--zstd" is library/alpine in the form zstd. What stands behind the last "--" and is no form belongs to
// the name.
struct FormedName {
  std::string name;
  Form form;
  std::string ToString() const;
  static FormedName Parse(std::string_view text);
};

// The registries behind this server. "[PREFIX=]docker://HOST[:PORT][/PATH]": names that begin with PREFIX/ go there,
// without it; the longest prefix wins.
class Upstreams {
 public:
  // kUsage for what is no such text, and for a prefix that is there already.
  void Add(const std::string& text);
  bool empty() const { return all_.empty(); }

  // What `name` is called upstream, selected by `reference`, a tag or a digest. nullopt when no upstream takes it or
  // when it is no name.
  std::optional<image::DockerReference> Find(std::string_view name, std::string_view reference) const;

 private:
  struct Upstream {
    std::string prefix;  // empty: takes what no other does
    std::string host;
    std::string path;  // empty, or ends with '/'
  };
  std::vector<Upstream> all_;  // the longest prefix first
};

// "/example.com/library/alpine-3.18-linux-amd64.aci": an App Container Image, or its signature.
struct AciRequest {
  std::string name;        // an AC Identifier, with the host of this server
  std::string repository;  // without it
  std::string version;
  image::Platform platform;
  bool signature = false;  // .aci.asc

  // `path` may leave out `host`, as a client does that finds the file by the name alone. `version` is told where the
  // client knows it; else it is what stands between the last hyphens. nullopt for what is no such path.
  static std::optional<AciRequest> Parse(std::string_view path, const std::string& host,
                                         const std::optional<std::string>& version);
};

// "example.com" of "https://example.com:8443": what the names of App Container Images here begin with.
std::string HostOf(const std::string& url);

// A request of the distribution protocol (distribution-spec, "Endpoints").
struct RegistryRequest {
  enum class Kind { kPing, kManifest, kBlob, kTags, kReferrers };
  Kind kind = Kind::kPing;
  std::string name;       // grammar checked
  std::string reference;  // a tag or a digest; of blobs and referrers a digest

  static std::optional<RegistryRequest> Parse(std::string_view path);
};

}  // namespace gantry::serve
