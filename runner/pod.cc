#include "runner/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxCgroupsFile = 64 * 1024;
constexpr time_t kUnlockedGrace = 60;  // a directory without a lock file is being made, if it is younger

// Absolute, because the child opens it after its working directory has changed.
std::string AbsolutePath(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr)
    ThrowErrno("resolve " + path);
  std::string out(resolved);
  std::free(resolved);
  return out;
}

bool IsUuid(std::string_view name) {
  if (name.size() != 36)
    return false;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'f');
    if (dash ? name[i] != '-' : !hex)
      return false;
  }
  return true;
}

// Files of a user namespace's ids are removed by its root. The plain way comes first: it is nearly always enough.
void RemovePodTree(const Dir& pods, const std::string& uuid, const std::optional<IdMap>& map) {
  const RelPath name = RelPath::Parse(uuid);
  try {
    pods.RemoveTree(name);
  } catch (const Error& error) {
    if (!map)
      throw;
    const ExitStatus status = RunInUserNamespace(*map, [&] {
      pods.RemoveTree(name);
      return 0;
    });
    if (status.code != 0)
      throw error;
  }
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

void WriteLines(const Dir& dir, const char* name, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const UniqueFd fd = dir.OpenBeneath(RelPath::Parse(name), O_WRONLY | O_CREAT | O_EXCL, 0644);
  WriteFull(fd.get(), AsBytes(text), name);
}

// The keeper holds nothing of its parent's but the lock, the pods directory and the pipe, and hears no signal that is
// meant for the parent's terminal or group.
void BecomeKeeper(const std::vector<int>& keep) {
  setsid();
  prctl(PR_SET_NAME, "gantry-keeper");
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  int next = 3;
  std::vector<int> sorted = keep;
  std::sort(sorted.begin(), sorted.end());
  for (const int fd : sorted) {
    if (fd > next)
      close_range(static_cast<unsigned>(next), static_cast<unsigned>(fd - 1), 0);
    next = fd + 1;
  }
  close_range(static_cast<unsigned>(next), ~0U, 0);
  if (chdir("/") < 0)
    _exit(1);
}

bool IsDead(const Dir& pods, const std::string& uuid, UniqueFd& lock) {
  const auto fd = pods.TryOpenBeneath(RelPath::Parse(uuid + "/lock"), O_RDWR);
  if (!fd) {
    const auto status = pods.Stat(RelPath::Parse(uuid));
    return status && time(nullptr) - status->st_mtime > kUnlockedGrace;
  }
  if (flock(fd->get(), LOCK_EX | LOCK_NB) < 0)
    return false;
  lock = UniqueFd(fcntl(fd->get(), F_DUPFD_CLOEXEC, 3));
  return true;
}

}  // namespace

std::string NewUuid() {
  std::array<unsigned char, 16> b{};
  if (getrandom(b.data(), b.size(), 0) != static_cast<ssize_t>(b.size()))
    ThrowErrno("read random bytes");
  b[6] = static_cast<unsigned char>((b[6] & 0x0F) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3F) | 0x80);
  std::string out;
  for (size_t i = 0; i < b.size(); ++i) {
    char digits[4];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(b[i]));
    out += (i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + std::string(digits);
  }
  return out;
}

Pod::Pod(std::string uuid, Dir pods, Dir dir, UniqueFd lock, Cgroup cgroup, std::optional<IdMap> map)
    : uuid_(std::move(uuid)),
      pods_(std::move(pods)),
      dir_(std::move(dir)),
      lock_(std::move(lock)),
      cgroup_(std::move(cgroup)),
      map_(std::move(map)) {}

Pod::Pod(Pod&& other) noexcept
    : uuid_(std::exchange(other.uuid_, {})),
      pods_(std::move(other.pods_)),
      dir_(std::move(other.dir_)),
      lock_(std::move(other.lock_)),
      cgroup_(std::move(other.cgroup_)),
      map_(std::move(other.map_)),
      keeper_pipe_(std::move(other.keeper_pipe_)),
      keeper_(std::exchange(other.keeper_, -1)) {}

Pod Pod::Create(const Dir& pods, const image::Image& image, std::optional<IdMap> map) {
  std::string uuid = NewUuid();
  const std::string base = AbsolutePath(pods.name());
  Dir own = Dir::Open(base);
  const RelPath name = RelPath::Parse(uuid);
  Dir dir(own.MakeDirs(name, 0711));
  dir = Dir(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 3)), base + "/" + uuid);
  UniqueFd lock = dir.OpenBeneath(RelPath::Parse("lock"), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) < 0)
    ThrowErrno("lock the pod " + uuid);
  std::vector<std::string> digests = {image.descriptor.digest.str()};
  for (const Digest& diff_id : image.config.diff_ids) digests.push_back(diff_id.str());
  Pod pod(uuid, std::move(own), std::move(dir), std::move(lock), Cgroup::Locate(uuid), std::move(map));
  WriteLines(pod.dir_, "image", digests);
  WriteLines(pod.dir_, "cgroups", pod.cgroup_.paths());
  for (const char* tree : {"upper", "work", "root"}) {
    if (mkdirat(pod.dir_.fd(), tree, 0755) < 0)
      ThrowErrno("make the directory " + pod.Path(tree));
  }
  pod.StartKeeper();
  return pod;
}

void Pod::StartKeeper() {
  Pipe pipe = MakePipe();
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid > 0) {
    keeper_ = pid;
    keeper_pipe_ = std::move(pipe.write);
    return;
  }
  BecomeKeeper({pipe.read.get(), lock_.get(), pods_.fd()});
  char byte = 0;
  while (read(pipe.read.get(), &byte, 1) < 0 && errno == EINTR) {
  }
  if (byte == 0) {
    try {
      Cgroup::Remove(cgroup_.paths(), uuid_);
      RemovePodTree(pods_, uuid_, map_);
    } catch (const std::exception&) {
      _exit(1);  // the next sweep finds it
    }
  }
  _exit(0);
}

void Pod::Remove() {
  if (uuid_.empty())
    return;
  const std::string uuid = std::exchange(uuid_, {});
  cgroup_.CloseDescriptors();
  const bool groups_gone = Cgroup::Remove(cgroup_.paths(), uuid);
  RemovePodTree(pods_, uuid, map_);
  if (keeper_ > 0) {
    const char done = 1;
    WriteFull(keeper_pipe_.get(), std::as_bytes(std::span(&done, 1)), "keeper");
    while (waitpid(std::exchange(keeper_, -1), nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (!groups_gone)
    throw Error(ErrorKind::kFailed, "a control group of pod " + uuid + " could not be removed",
                "a process in it does not die; remove it later with: gantry run gc");
}

Pod::~Pod() {
  try {
    Remove();
  } catch (const std::exception&) {
    // The sweep of the next run tries again.
  }
}

size_t SweepPods(const Dir& pods, const std::optional<IdMap>& map) {
  size_t swept = 0;
  for (const std::string& name : pods.List()) {
    UniqueFd lock;
    if (!IsUuid(name) || !IsDead(pods, name, lock))
      continue;
    const RelPath cgroups = RelPath::Parse(name + "/cgroups");
    if (pods.Exists(cgroups))
      Cgroup::Remove(Lines(pods.ReadFile(cgroups, kMaxCgroupsFile)), name);
    RemovePodTree(pods, name, map);
    ++swept;
  }
  return swept;
}

}  // namespace gantry::runner
