// What is known of a pod while it runs and after: the file `image` of its directory (pod.h), read and written.
//
//   kept                       first line of a pod that stays when its apps have ended
//   sha256:...                 digests of manifests and diff IDs that garbage collection must keep
//   /sys/fs/cgroup/...         its control groups
//   {"created":...}            one JSON object: what was planned (PodPlan)
//   {"event":"started",...}    one JSON object for each thing that happened (PodEvent), appended
//
// The state of a pod is nowhere written: it follows from the events, from the lock on the file, which its runner holds,
// and from whether the processes live. A runner that was killed could write nothing, and it shows.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "libimage/base/json.h"
#include "libimage/model/aci_manifest.h"
#include "runner/config.h"
#include "runner/pod_log.h"

namespace gantry::runner {

constexpr size_t kMaxApps = 64;                       // of one pod
constexpr size_t kMaxRecordBytes = 64 * 1024 * 1024;  // of one pod
constexpr const char* kPodFile = "image";

struct AppPlan {
  std::string name;              // unique in the pod; letters, digits, '-', '_' and '.'
  std::string image;             // as it was named
  std::optional<Digest> digest;  // of its manifest
  std::vector<Digest> diff_ids;  // base first
  RunConfig config;
  std::string image_id = {};                      // that appc gives it, "sha512-..."; empty: nobody has asked
  std::vector<image::AppcPair> annotations = {};  // of the app in a pod manifest
};

struct PodPlan {
  bool kept = false;
  std::string created;  // RFC 3339
  std::vector<AppPlan> apps;
  uint32_t own_ids = 0;  // so many ids of the host for it alone; 0: those of the host, or of the user
  LogDriver log = LogDriver::kFile;
  bool metadata = false;                  // it has a metadata service
  bool machine = false;                   // in a virtual machine, whose process the app's is recorded to be
  std::vector<std::string> command = {};  // the words that made it, and where, for gantry-generate
  std::string directory = {};
  std::vector<image::AppcPair> annotations = {};  // of a pod manifest
};

struct PodEvent {
  enum class Kind {
    kPrepared,   // rendered, and not to be started yet
    kRunner,     // the process that attends to it: `pid`, `start_time`
    kStarted,    // `app`: its first process, `pid`, `start_time`
    kExited,     // `app`: `code`
    kHealthy,    // `app`
    kUnhealthy,  // `app`, `text` is what the check said
    kFailed,     // `text`: why it could not be started
    kMeasured,   // `app`: `digests` of what its virtual machine starts with
    kNetwork,    // `addresses`: those of the pod
  };
  Kind kind = Kind::kPrepared;
  std::string app = {};
  pid_t pid = 0;
  uint64_t start_time = 0;  // StartTimeOf
  int code = 0;
  std::string text = {};
  std::map<std::string, Digest> digests = {};  // "kernel", "initramfs", "root"
  std::vector<std::string> addresses = {};
  std::string time = {};  // RFC 3339; set when it is written
};

// The lines of the file as it begins, and of one more event.
std::string PrintPlan(const PodPlan& plan, const std::vector<std::string>& cgroups);
std::string PrintEvent(const PodEvent& event);

enum class PodState {
  kPreparing,  // images are rendered, or processes set up
  kPrepared,
  kRunning,
  kExited,
  kKilled,      // its runner ended without a word, by a signal or with the machine
  kUnreadable,  // nobody runs it, and what is known of it cannot be read
};
std::string_view ToString(PodState state);

struct AppStatus {
  std::optional<pid_t> pid;     // of its first process, while that lives
  std::optional<int> code;      // of its last end
  std::string started, exited;  // times; empty: not yet
  unsigned starts = 0;          // more than one is a restart
  std::string health;           // "", "starting", "healthy" or "unhealthy"
  std::string health_output;
  std::map<std::string, Digest> measured;  // as of kMeasured; empty: not
};

// A pod as it was found.
class PodRecord {
 public:
  // nullopt when there is no file, or an empty one: a pod in the making or on its way out. One that cannot be read, as
  // when a later version wrote it, has a problem(), and no plan: it can be seen, stopped and removed.
  static std::optional<PodRecord> Read(const Dir& pods, const std::string& uuid);
  // From text alone; kCorrupt when it is not one.
  static PodRecord Parse(std::string_view text, const std::string& uuid);

  const std::string& uuid() const { return uuid_; }
  const PodPlan& plan() const { return plan_; }
  const std::vector<PodEvent>& events() const { return events_; }
  const std::string& problem() const { return problem_; }

  PodState state() const;
  AppStatus StatusOf(const std::string& app) const;
  // The code of the first app that failed, or 0; nullopt while it is not known.
  std::optional<int> code() const;
  // Of its network; empty when it has ended, or has none.
  std::vector<std::string> addresses() const;
  // The process that attends to the pod, while it lives.
  std::optional<pid_t> runner() const;
  // The app of that name; an empty one is the only app. kUsage otherwise.
  const AppPlan& App(const std::string& name) const;

 private:
  static PodRecord Salvage(std::string_view text, const std::string& uuid, std::string problem);

  std::string uuid_;
  PodPlan plan_;
  std::vector<PodEvent> events_;
  bool locked_ = false;
  bool whole_ = false;  // has a plan
  std::string problem_;
};

// All pods, the youngest first.
std::vector<PodRecord> ListPods(const Dir& pods);

// By UUID, by its beginning, or by the name of an app that only one pod has. kNotFound, or kUsage for what is not
// unique; and unless it may be `any`, kCorrupt for one with a problem.
PodRecord FindPod(const Dir& pods, const std::string& text, bool any = false);

bool IsUuid(std::string_view name);

}  // namespace gantry::runner
