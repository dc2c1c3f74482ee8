#include "runner/container_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "runner/spec.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxStatBytes = 4096;
constexpr int kStartTimeField = 22;

void CheckId(const std::string& id) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '+' || c == '-' || c == '.';
  };
  if (id.empty() || id.size() > kMaxContainerId || id.front() == '.' || !std::ranges::all_of(id, allowed))
    throw Error(ErrorKind::kUsage, "invalid container id " + Quoted(id),
                "letters, digits and '_+-.', not '.' at the beginning, at most 255");
}

}  // namespace

const char* ToString(Status status) {
  switch (status) {
    case Status::kCreating:
      return "creating";
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "stopped";
}

std::optional<uint64_t> StartTimeOf(pid_t pid) {
  const int fd = open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return std::nullopt;
  char text[kMaxStatBytes] = {};
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  // The name, in parentheses, may hold anything.
  const char* at = size > 0 ? std::strrchr(text, ')') : nullptr;
  if (at == nullptr || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X')
    return std::nullopt;
  std::string_view rest(at + 2);
  for (int field = 3; field < kStartTimeField; ++field)
    rest.remove_prefix(std::min(rest.find(' '), rest.size() - 1) + 1);
  return ParseDecimal<uint64_t>(rest.substr(0, rest.find(' ')));
}

bool ContainerState::Alive() const {
  if (pid <= 0)
    return false;
  const auto now = StartTimeOf(pid);
  return now && *now == start_time;
}

json::Object ContainerState::Print(Status status, pid_t shown_pid) const {
  json::Object out{{"ociVersion", version}, {"id", id}, {"status", ToString(status)}};
  out.Set("pid", status == Status::kStopped ? 0 : shown_pid);
  out.Set("bundle", bundle);
  out.Set("rootfs", rootfs);
  out.Set("created", created);
  if (!annotations.empty())
    out.Set("annotations", annotations);
  out.Set("owner", owner);
  return out;
}

ContainerDir::ContainerDir(std::string root, std::string id, Dir dir)
    : root_(std::move(root)), id_(std::move(id)), dir_(std::move(dir)) {}

ContainerDir ContainerDir::Create(const std::string& root, const std::string& id) {
  CheckId(id);
  const Dir top = Dir::Create(root, 0700);
  if (mkdirat(top.fd(), id.c_str(), 0700) < 0) {
    if (errno == EEXIST)
      throw Error(ErrorKind::kFailed, "container with id exists: " + Quoted(id),
                  "choose another, or remove that one with: gantry-oci delete " + id);
    ThrowErrno("make the directory " + root + "/" + id);
  }
  try {
    return Open(root, id);
  } catch (const Error&) {
    unlinkat(top.fd(), id.c_str(), AT_REMOVEDIR);
    throw;
  }
}

ContainerDir ContainerDir::Open(const std::string& root, const std::string& id) {
  CheckId(id);
  try {
    return {root, id, Dir::Open(root).OpenDir(RelPath::Parse(id))};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    throw Error(ErrorKind::kNotFound, "container " + Quoted(id) + " does not exist", "see: gantry-oci list");
  }
}

std::vector<std::string> ContainerDir::List(const std::string& root) {
  try {
    return Dir::Open(root).List();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound)
      return {};
    throw;
  }
}

void ContainerDir::Save(const ContainerState& state) const {
  const json::Object out{{"ociVersion", state.version},
                         {"id", state.id},
                         {"pid", state.pid},
                         {"startTime", state.start_time},
                         {"bundle", state.bundle},
                         {"rootfs", state.rootfs},
                         {"created", state.created},
                         {"owner", state.owner},
                         {"annotations", state.annotations},
                         {"setUp", state.set_up},
                         {"ownPids", state.own_pids},
                         {"ownKeys", state.own_keys},
                         {"scope", state.scope},
                         {"cgroup", state.cgroup.Save()}};
  // Replaced whole, but not synced: it describes processes, which a crash of the machine ends.
  StagedFile file(dir_, 0600);
  WriteFull(file.fd(), AsBytes(json::Print(out)), "state.json");
  file.Commit(RelPath::Parse("state.json"), false);
}

ContainerState ContainerDir::Load() const {
  const std::string text = dir_.ReadFile(RelPath::Parse("state.json"), kMaxStateBytes);
  const json::Value document = json::Parse(text, "state.json");
  const json::Cursor top(document, "the state of container " + Quoted(id_));
  ContainerState out;
  out.version = top.At("ociVersion").String();
  out.id = top.At("id").String();
  out.pid = static_cast<pid_t>(top.At("pid").Integer(0, INT32_MAX));
  out.start_time = top.At("startTime").Unsigned(UINT64_MAX);
  out.bundle = top.At("bundle").String();
  out.rootfs = top.At("rootfs").String();
  out.created = top.At("created").String();
  out.owner = top.At("owner").String();
  out.annotations = top.At("annotations").StringMap(kMaxSpecItems);
  // Who did not write it wrote nothing after the container was set up, and did not know of keys that are the caller's.
  const auto set_up = top.Find("setUp");
  out.set_up = !set_up || set_up->Bool();
  out.own_pids = top.At("ownPids").Bool();
  const auto own_keys = top.Find("ownKeys");
  out.own_keys = !own_keys || own_keys->Bool();
  out.scope = top.At("scope").String();
  out.cgroup = BundleCgroup::Load(top.At("cgroup"));
  return out;
}

Status ContainerDir::StatusOf(const ContainerState& state) const {
  if (state.pid == 0)
    return Status::kCreating;
  if (!state.Alive())
    return Status::kStopped;
  if (!state.set_up)
    return Status::kCreating;
  if (state.cgroup.Frozen())
    return Status::kPaused;
  return dir_.Exists(RelPath::Parse("start")) ? Status::kCreated : Status::kRunning;
}

void ContainerDir::SaveConfig(std::string_view text) const {
  const UniqueFd fd = dir_.OpenBeneath(RelPath::Parse("config.json"), O_WRONLY | O_CREAT | O_EXCL, 0600);
  WriteFull(fd.get(), AsBytes(text), "config.json");
}

std::string ContainerDir::LoadConfig() const { return dir_.ReadFile(RelPath::Parse("config.json"), kMaxSpecBytes); }

// By the descriptor: paths of sockets are at most 107 bytes long.
std::string ContainerDir::SocketName() const { return "/proc/self/fd/" + std::to_string(dir_.fd()) + "/start"; }

UniqueFd ContainerDir::Listen() const {
  UniqueFd out(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  SocketName().copy(name.sun_path, sizeof name.sun_path - 1);
  if (!out || bind(out.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0 || listen(out.get(), 1) < 0)
    ThrowErrno("make the socket " + dir_.name() + "/start");
  return out;
}

UniqueFd ContainerDir::Connect() const {
  UniqueFd out(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  SocketName().copy(name.sun_path, sizeof name.sun_path - 1);
  if (!out || connect(out.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0)
    ThrowErrno("reach the container's init");
  return out;
}

void ContainerDir::RemoveSocket() const { dir_.RemoveFile(RelPath::Parse("start")); }

void ContainerDir::Remove() const { Dir::Open(root_).RemoveTree(RelPath::Parse(id_)); }

}  // namespace gantry::runner
