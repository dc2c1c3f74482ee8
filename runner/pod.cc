#include "runner/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"

namespace gantry::runner {
namespace {

constexpr const char* kPodFile = "image";
constexpr size_t kMaxPodFile = 1024 * 1024;
constexpr time_t kUnlockedGrace = 60;  // a directory without the file is being made, if it is younger

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

UniqueFd MakePodFile(const Dir& dir, const image::Image& image, const std::vector<std::string>& cgroups) {
  UniqueFd fd = dir.OpenBeneath(RelPath::Parse(kPodFile), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) < 0)
    ThrowErrno("lock the pod " + dir.name());
  std::string text = image.descriptor.digest.str() + "\n";
  for (const Digest& diff_id : image.config.diff_ids) text += diff_id.str() + "\n";
  for (const std::string& path : cgroups) text += path + "\n";
  WriteFull(fd.get(), AsBytes(text), "the file of the pod " + dir.name());
  return fd;
}

// The keeper holds nothing of its parent's but the lock, the pods directory and the socket, and hears no signal that is
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
  const auto fd = pods.TryOpenBeneath(RelPath::Parse(uuid + "/" + kPodFile), O_RDWR);
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
      keeper_socket_(std::move(other.keeper_socket_)),
      keeper_(std::exchange(other.keeper_, -1)) {}

Pod Pod::Create(const Dir& pods, const image::Image& image, std::optional<IdMap> map) {
  std::string uuid = NewUuid();
  // Absolute, because the child opens it after its working directory has changed.
  const std::string base = RealPath(pods.name());
  Dir own = Dir::Open(base);
  const RelPath name = RelPath::Parse(uuid);
  Dir dir(own.MakeDirs(name, 0711));
  dir = Dir(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 3)), base + "/" + uuid);
  Cgroup cgroup = Cgroup::Locate(uuid);
  UniqueFd lock = MakePodFile(dir, image, cgroup.paths());
  Pod pod(uuid, std::move(own), std::move(dir), std::move(lock), std::move(cgroup), std::move(map));
  for (const char* tree : {"upper", "work"}) {
    if (mkdirat(pod.dir_.fd(), tree, 0755) < 0)
      ThrowErrno("make the directory " + pod.Path(tree));
  }
  pod.StartKeeper();
  return pod;
}

void Pod::StartKeeper() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    ThrowErrno("socketpair");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid > 0) {
    keeper_ = pid;
    keeper_socket_ = std::move(ours);
    return;
  }
  BecomeKeeper({theirs.get(), lock_.get(), pods_.fd()});
  // What KeepMounts sends is never read: it lives in the socket's queue until the socket is closed.
  pollfd hangup = {theirs.get(), 0, 0};
  while (poll(&hangup, 1, -1) < 0 && errno == EINTR) {
  }
  try {
    Cgroup::Remove(cgroup_.paths(), uuid_);
    theirs.Reset();
    RemovePodTree(pods_, uuid_, map_);
  } catch (const std::exception&) {
    _exit(1);  // the next sweep finds it
  }
  _exit(0);
}

void Pod::KeepMounts(pid_t container) {
  const std::string path = "/proc/" + std::to_string(container) + "/ns/mnt";
  const UniqueFd mounts(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // Without /proc, or without the keeper, the end takes longer, and nothing else changes.
  if (mounts)
    PassDescriptor(keeper_socket_.get(), mounts.get());
}

void Pod::Remove() {
  if (uuid_.empty())
    return;
  const std::string uuid = std::exchange(uuid_, {});
  cgroup_.CloseDescriptors();
  const bool groups_gone = Cgroup::Remove(cgroup_.paths(), uuid);
  // It holds blobs no more, though the keeper still has the lock. Where that fails they are held a moment longer.
  if (ftruncate(lock_.get(), 0) < 0)
    errno = 0;
  // Whoever closes a removed directory last frees its blocks: that is to be the keeper.
  dir_ = Dir(UniqueFd(), dir_.name());
  lock_.Reset();
  keeper_socket_.Reset();
  if (keeper_ < 0)
    RemovePodTree(pods_, uuid, map_);
  while (getpid() == 1 && keeper_ > 0 && waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!groups_gone)
    throw Error(ErrorKind::kFailed, "a control group of pod " + uuid + " could not be removed",
                "a process in it does not die; remove it later with: gantry run gc");
}

Pod::~Pod() {
  try {
    Remove();
  } catch (const std::exception&) {
    // The keeper tries again, and the sweep of the next run.
  }
}

size_t SweepPods(const Dir& pods, const std::optional<IdMap>& map) {
  size_t swept = 0;
  for (const std::string& name : pods.List()) {
    UniqueFd lock;
    if (!IsUuid(name) || !IsDead(pods, name, lock))
      continue;
    if (lock)
      Cgroup::Remove(Lines(ReadAll(lock.get(), kMaxPodFile, "the file of the pod " + name)), name);
    RemovePodTree(pods, name, map);
    ++swept;
  }
  return swept;
}

}  // namespace gantry::runner
