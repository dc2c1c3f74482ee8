// An image that is being written: a base, layers on it, a configuration, and what only an ACI can say.
//
// A value without I/O. It is kept as JSON between two commands (workspace.h). The configuration is the document of the
// base, with all that we do not know of in it; names of ports and mount points, isolators, event handlers, dependencies
// and appc's labels are kept beside it, as an ACI manifest that has nothing else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/aci_manifest.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr std::string_view kUnnamed = "unnamed";  // the ACI name of what has none yet

// A layer that was made here, or that the base has.
struct DraftLayer {
  Descriptor blob;
  Digest diff_id;

  json::Object ToJson() const;
  static DraftLayer Parse(const json::Cursor& from);  // of ToJson
};

// Where the base came from: what was asked for, and what that was then.
struct DraftBase {
  std::string name;
  Digest manifest;
};

// Something that went in, by content: "copy etc", "build --from builder".
struct DraftInput {
  std::string name;
  Digest digest;
};

class Draft {
 public:
  // Nothing at all, for a platform.
  static Draft Empty(const Platform& platform);
  // On `base`, which `name` led to.
  static Draft On(const Image& base, std::string name);

  static Draft FromJson(std::string_view text);  // of ToJson; kCorrupt for anything else
  std::string ToJson() const;

  // What is executed. Names of the app are those of the configuration: "Env", "WorkingDir".
  void SetExec(const std::vector<std::string>& exec);  // the first is the entrypoint, the rest the command
  void SetUser(std::string_view user);
  void SetGroup(std::string_view group);
  void SetEnvironment(const std::string& name, const std::string& value);
  bool RemoveEnvironment(const std::string& name);         // false when it is not there; so are all others
  void Set(const std::string& member, json::Value value);  // of "config"; an empty one is removed
  const json::Value* Get(const std::string& member) const;
  void AddKeys(const std::string& member, const std::vector<std::string>& keys);  // "ExposedPorts", "Volumes"
  void SetLabel(const std::string& name, const std::string& value);
  bool RemoveLabel(const std::string& name);
  void SetPlatform(const Platform& platform);

  // appc's.
  void SetAppcLabel(const std::string& name, const std::string& value);  // "os" and "arch" choose the platform
  bool RemoveAppcLabel(const std::string& name);
  void SetAnnotation(const std::string& name, const std::string& value);
  bool RemoveAnnotation(const std::string& name);
  void AddPort(const AciPort& port);  // in place of one of that name; so are the next
  bool RemovePort(const std::string& name);
  void AddMount(const AciMountPoint& mount);
  bool RemoveMount(const std::string& name);
  AciManifest& appc() { return appc_; }
  const AciManifest& appc() const { return appc_; }
  AciApp& app();

  // Replaces all that the manifest of an ACI says, or the configuration but its layers and history.
  void Replace(const AciManifest& manifest);
  void Replace(const json::Value& config);

  // Layers and history.
  void AddLayer(DraftLayer layer, const std::string& created_by);
  void AddHistory(const std::string& created_by);  // something that made no layer
  const std::vector<DraftLayer>& layers() const { return layers_; }
  size_t base_layers() const { return base_layers_; }
  const std::optional<DraftBase>& base() const { return base_; }

  // The newest time of what went in, in seconds since 1970: later ones are not seen in the image.
  int64_t newest() const { return newest_; }
  void NoteTime(int64_t time) { newest_ = std::max(newest_, time); }

  // Whether a layer hides files of dependencies, which only a list of all that is left can say.
  bool hides() const { return hides_; }
  void NoteHiding() { hides_ = true; }

  // Whether a file that it is written to is an OCI archive where nobody says what it is, and no ACI.
  bool writes_oci() const { return writes_oci_; }
  void WriteOci() { writes_oci_ = true; }

  const std::vector<DraftInput>& inputs() const { return inputs_; }
  void NoteInput(DraftInput input) { inputs_.push_back(std::move(input)); }
  std::vector<std::string> Steps() const;  // what was done on the base, as the history has it

  // The image as it is now, with an OCI manifest; created at `epoch`.
  Image ToImage(int64_t epoch) const;
  // The same on top of others: what is seen where the dependencies are rendered.
  Image ToImage(int64_t epoch, const std::vector<const Image*>& below) const;
  // What `generated`, the manifest of an ACI for that image, becomes with what only an ACI says.
  AciManifest Complete(AciManifest generated) const;

 private:
  Draft() = default;
  json::Object Keys(const std::string& member) const;
  void RemoveKeys(const std::string& member, const std::vector<std::string>& keys);

  json::Object config_;
  std::map<std::string, std::string> annotations_;  // of the manifest
  AciManifest appc_;
  std::vector<DraftLayer> layers_;
  size_t base_layers_ = 0;
  std::optional<DraftBase> base_;
  size_t base_history_ = 0;
  std::vector<DraftInput> inputs_;
  int64_t newest_ = 0;
  bool hides_ = false;
  bool writes_oci_ = false;
};

// The only maker of VerifiedImages beside sign::Verifier and Conversion. What somebody builds here is trusted as far as
// what he began with, and he vouches for the rest; whoever runs it elsewhere is asked by his own policy.
class Authoring {
 public:
  // `base` must be what the draft was begun on (kFailed), null when that was nothing. `below` is what it depends on, in
  // the order of rendering, for the image that is seen in the build.
  static VerifiedImage Finish(const Draft& draft, const VerifiedImage* base, int64_t epoch,
                              const std::vector<const VerifiedImage*>& below = {});
};

}  // namespace gantry::image
