#include "runner/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
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
#include "libimage/base/inherited.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/base/time_text.h"
#include "runner/bundle_cgroup.h"
#include "runner/container_state.h"
#include "runner/pod_manifest.h"

namespace gantry::runner {
namespace {

constexpr std::string_view kKeptLine = "kept\n";
constexpr int kTakeAttempts = 50;      // of 10 ms
constexpr time_t kUnlockedGrace = 60;  // a directory without the file is being made, if it is younger

// The pod holds blobs no more, though the keeper still has the lock. False: they are held a moment longer.
bool LetBlobsGo(int lock) { return ftruncate(lock, 0) == 0; }

// The groups of `uuid` among `paths`, with all below. False when one is left.
bool RemoveGroups(const std::vector<std::string>& paths, const std::string& uuid) {
  bool all_gone = true;
  for (const std::string& path : paths) {
    const bool ours = !uuid.empty() && path.starts_with(std::string(kCgroupTop) + "/") &&
                      path.ends_with("/gantry-" + uuid) && path.find("/../") == std::string::npos;
    all_gone = (!ours || RemoveGroup(path)) && all_gone;
  }
  return all_gone;
}

std::vector<std::string> GroupPaths(const std::string& uuid) {
  std::vector<std::string> out;
  const BundleCgroup located = BundleCgroup::ForPod("gantry-" + uuid);
  for (const BundleCgroup::Group& group : located.groups()) out.push_back(group.path);
  return out;
}

bool IsKept(int file) {
  std::array<char, kKeptLine.size()> begin{};
  return pread(file, begin.data(), begin.size(), 0) == static_cast<ssize_t>(begin.size()) &&
         std::string_view(begin.data(), begin.size()) == kKeptLine;
}

bool IsKept(const Dir& pods, const std::string& uuid) {
  const auto file = pods.TryOpenBeneath(RelPath::Parse(uuid + "/" + kPodFile), O_RDONLY);
  return file && IsKept(file->get());
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

// The groups that the file of a dead pod names.
std::vector<std::string> GroupLines(int file, const std::string& uuid) {
  std::vector<std::string> out;
  const std::string text = ReadAll(file, kMaxRecordBytes, "the file of the pod " + uuid);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (text[begin] == '/')
      out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string RunnerEvent() {
  return PrintEvent({PodEvent::Kind::kRunner, {}, getpid(), StartTimeOf(getpid()).value_or(0)});
}

// Tells ext4 that these trees have nothing to do with each other: it puts each elsewhere on the disk, and not all
// beside the store's. Where thousands of files were removed, their inodes are passed over one by one for five seconds:
// then every file of a new pod takes a millisecond. Other file systems know no such thing, and need none.
void SpreadOut(const Dir& pods) {
  int flags = 0;
  if (ioctl(pods.fd(), FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_TOPDIR_FL) != 0)
    return;
  flags |= FS_TOPDIR_FL;
  ioctl(pods.fd(), FS_IOC_SETFLAGS, &flags);
}

// Gets its name when it is locked, so that no sweep takes the pod for dead.
UniqueFd MakePodFile(const Dir& dir, const PodPlan& plan, const std::vector<std::string>& groups, bool runs) {
  const RelPath hidden = RelPath::Parse(".image");
  UniqueFd fd = dir.OpenBeneath(hidden, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) < 0)
    ThrowErrno("lock the pod " + dir.name());
  const std::string text = PrintPlan(plan, groups) + (runs ? RunnerEvent() : "");
  WriteFull(fd.get(), AsBytes(text), "the file of the pod " + dir.name());
  dir.Rename(hidden, RelPath::Parse(kPodFile));
  return fd;
}

// The first app that names it says how it is to be.
void MakeEmptyVolume(const Dir& pod, const Volume& volume) {
  const RelPath name = RelPath::Parse("volumes/" + volume.source);
  if (pod.Exists(name))
    return;
  const Dir made = pod.MakeDirs(name, 0755);
  if (fchmod(made.fd(), volume.mode.value_or(0755)) < 0 ||
      fchown(made.fd(), volume.uid.value_or(static_cast<uid_t>(-1)), volume.gid.value_or(static_cast<gid_t>(-1))) < 0)
    ThrowErrno("make the volume " + Quoted(volume.source));
}

std::optional<OwnIds> ClaimIds(const PodPlan& plan) {
  return plan.own_ids != 0 ? std::optional(OwnIds::Claim(plan.own_ids)) : std::nullopt;
}

// The keeper holds nothing of its parent's but the lock, the pods directory and the socket, and hears no signal that is
// meant for the parent's terminal or group.
void BecomeKeeper(std::vector<int> keep) {
  setsid();
  prctl(PR_SET_NAME, "gantry-keeper");
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  CloseAllBut(keep);
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

image::Confinement AttendanceConfinement(const std::string& pods, const std::string& uuid,
                                         const std::vector<std::string>& groups) {
  image::Confinement keep;
  keep.write = groups;
  keep.write.push_back(pods + "/" + uuid);
  keep.remove = {pods};
  for (const std::string& group : groups) keep.remove.push_back(group.substr(0, group.rfind('/')));
  keep.signals = true;
  keep.capabilities = {CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL};
  return keep;
}

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

Pod::Pod(std::string uuid, Dir pods, Dir dir, PodPlan plan, std::optional<IdMap> map)
    : uuid_(std::move(uuid)),
      pods_(std::move(pods)),
      dir_(std::move(dir)),
      plan_(std::move(plan)),
      groups_(GroupPaths(uuid_)),
      map_(std::move(map)) {}

Pod::Pod(Pod&& other) noexcept
    : uuid_(std::exchange(other.uuid_, {})),
      pods_(std::move(other.pods_)),
      dir_(std::move(other.dir_)),
      lock_(std::move(other.lock_)),
      plan_(std::move(other.plan_)),
      groups_(std::move(other.groups_)),
      map_(std::move(other.map_)),
      own_ids_(std::move(other.own_ids_)),
      metadata_(std::move(other.metadata_)),
      metadata_server_(std::move(other.metadata_server_)),
      network_(std::move(other.network_)),
      keeper_socket_(std::move(other.keeper_socket_)),
      keeper_(std::exchange(other.keeper_, -1)) {}

Pod Pod::Make(const Dir& pods, PodPlan plan, std::optional<IdMap> map, bool runs) {
  std::optional<OwnIds> ids = runs ? ClaimIds(plan) : std::nullopt;
  std::string uuid = NewUuid();
  // Absolute, because the child opens it after its working directory has changed.
  const std::string base = RealPath(pods.name());
  Dir own = Dir::Open(base);
  SpreadOut(own);
  const RelPath name = RelPath::Parse(uuid);
  Dir dir(own.MakeDirs(name, 0711));
  dir = Dir(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 3)), base + "/" + uuid);
  plan.created = NowText();
  Pod pod(uuid, std::move(own), std::move(dir), std::move(plan), std::move(map));
  pod.Own(std::move(ids));
  pod.lock_ = MakePodFile(pod.dir_, pod.plan_, pod.groups_, runs);
  pod.MakeTrees();
  return pod;
}

void Pod::Own(std::optional<OwnIds> ids) {
  own_ids_ = std::move(ids);
  if (own_ids_)
    map_ = own_ids_->map();
}

void Pod::MakeTrees() const {
  const auto make = [](const std::string& path) {
    if (mkdir(path.c_str(), 0755) < 0)
      ThrowErrno("make the directory " + path);
  };
  if (plan_.apps.size() > 1)
    make(Path("apps"));
  for (const AppPlan& app : plan_.apps) {
    const std::string path = AppPath(app.name);
    if (plan_.apps.size() > 1)
      make(path);
    for (const char* tree : {"/upper", "/work"}) make(path + tree);
    for (const Volume& volume : app.config.volumes) {
      if (volume.kind == Volume::Kind::kEmpty)
        MakeEmptyVolume(dir_, volume);
    }
  }
}

Pod Pod::Create(const Dir& pods, PodPlan plan, std::optional<IdMap> map) {
  Pod pod = Make(pods, std::move(plan), std::move(map), true);
  pod.StartKeeper();
  return pod;
}

Pod Pod::Create(const Dir& pods, const image::Image& image, std::optional<IdMap> map) {
  AppPlan app{"app", image.descriptor.digest.str(), image.descriptor.digest, image.config.diff_ids, {}};
  app.config.args = {"?"};
  app.config.working_dir = "/";
  return Create(pods, PodPlan{false, {}, {std::move(app)}}, std::move(map));
}

Pod Pod::Prepare(const Dir& pods, PodPlan plan, std::optional<IdMap> map) {
  plan.kept = true;
  return Make(pods, std::move(plan), std::move(map), false);
}

Pod Pod::Take(const Dir& pods, const std::string& uuid, std::optional<IdMap> map) {
  const std::string base = RealPath(pods.name());
  Dir own = Dir::Open(base);
  Dir dir(UniqueFd(fcntl(own.OpenDir(RelPath::Parse(uuid)).fd(), F_DUPFD_CLOEXEC, 3)), base + "/" + uuid);
  UniqueFd lock = dir.OpenBeneath(RelPath::Parse(kPodFile), O_RDWR | O_APPEND);
  // Whoever only looks holds the lock for a moment.
  for (int attempt = 0; flock(lock.get(), LOCK_EX | LOCK_NB) < 0; ++attempt) {
    if (attempt == kTakeAttempts)
      throw Error(ErrorKind::kFailed, "pod " + uuid + " runs already");
    const timespec pause = {0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  const PodRecord record = PodRecord::Parse(ReadAll(lock.get(), kMaxRecordBytes, "the file of the pod " + uuid), uuid);
  if (record.state() != PodState::kPrepared)
    throw Error(ErrorKind::kFailed, "pod " + uuid + " is not prepared: it is " + std::string(ToString(record.state())),
                "prepare another with: gantry run prepare");
  Pod pod(uuid, std::move(own), std::move(dir), record.plan(), std::move(map));
  pod.Own(ClaimIds(pod.plan_));
  pod.lock_ = std::move(lock);
  std::string groups;
  for (const std::string& path : pod.groups_) groups += path + "\n";
  WriteFull(pod.lock_.get(), AsBytes(groups + RunnerEvent()), "the file of the pod " + uuid);
  pod.StartKeeper();
  return pod;
}

std::string Pod::AppPath(const std::string& app) const { return plan_.apps.size() == 1 ? path() : Path("apps/" + app); }

std::string Pod::GroupName(const std::string& app) const {
  return "gantry-" + uuid_ + (plan_.apps.size() == 1 ? "" : "/" + app);
}

void Pod::Append(const PodEvent& event) const {
  WriteFull(lock_.get(), AsBytes(PrintEvent(event)), "the file of the pod " + dir_.name());
}

void Pod::StartKeeper() {
  auto ends = SocketPair(SOCK_STREAM);
  UniqueFd ours = std::move(ends.first);
  UniqueFd theirs = std::move(ends.second);
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid > 0) {
    keeper_ = pid;
    keeper_socket_ = std::move(ours);
    return;
  }
  std::vector<int> keep = {theirs.get(), lock_.get(), pods_.fd()};
  if (own_ids_)
    keep.push_back(own_ids_->fd());
  BecomeKeeper(keep);
  // What KeepMounts sends is never read: it lives in the socket's queue until the socket is closed.
  pollfd hangup = {theirs.get(), 0, 0};
  if (poll(&hangup, 1, kSettled) == 0 && !NeedsHelpers())
    ConfineKeeper();
  while (poll(&hangup, 1, -1) < 0 && errno == EINTR) {
  }
  try {
    RemoveGroups(groups_, uuid_);
    theirs.Reset();
    ReleaseNetwork(pods_, uuid_);
    if (!IsKept(lock_.get()))
      RemovePodTree(pods_, uuid_, map_);
  } catch (const std::exception&) {
    _exit(1);  // the next sweep finds it
  }
  _exit(0);
}

// What belongs to the ids of a user's range is removed by newuidmap, which is setuid; a network is undone by programs.
bool Pod::NeedsHelpers() const {
  return IsAttached(plan_.apps.front().config.network) || (geteuid() != 0 && map_ && !map_->single());
}

void Pod::ConfineKeeper() const {
  try {
    Confine();
  } catch (const Error&) {
    // To clean up is the more important: the process that decides about images has failed at the same before.
  }
}

void Pod::Confine() const { image::Confine(AttendanceConfinement(pods_.name(), uuid_, groups_)); }

void Pod::ServeMetadata(const UniqueFd& listener) {
  metadata_->uuid = uuid_;
  metadata_->manifest = json::Print(PrintPodManifest(plan_));
  metadata_->annotations = json::Print(PrintAnnotations(plan_.annotations));
  metadata_server_.emplace(MetadataServer::Start(*metadata_, listener));
}

void Pod::AttachNetwork(pid_t container) {
  network_.emplace(PodNetwork::Attach(plan_.apps.front().config, dir_, uuid_, container));
  PodEvent event{PodEvent::Kind::kNetwork};
  event.addresses = network_->attached().addresses;
  Append(event);
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
  metadata_server_.reset();
  const bool groups_gone = RemoveGroups(groups_, uuid);
  network_.reset();
  if (!plan_.kept)
    LetBlobsGo(lock_.get());
  // Whoever closes a removed directory last frees its blocks: that is to be the keeper.
  dir_ = Dir(UniqueFd(), dir_.name());
  lock_.Reset();
  keeper_socket_.Reset();
  // A network is undone by the keeper, too, who has the rights for that: then the next pod can have the same ports.
  const bool attached = IsAttached(plan_.apps.front().config.network);
  int status = 0;
  while ((getpid() == 1 || attached) && keeper_ > 0 && waitpid(keeper_, &status, 0) < 0 && errno == EINTR) {
  }
  if (attached && keeper_ < 0)
    ReleaseNetwork(pods_, uuid);
  if (keeper_ < 0 && !plan_.kept)
    RemovePodTree(pods_, uuid, map_);
  if (attached && status != 0)
    throw Error(ErrorKind::kFailed, "the network of pod " + uuid + " was not undone, or its directory not removed",
                "see why, and try again, with: gantry run gc");
  if (!groups_gone)
    throw Error(ErrorKind::kFailed, "a control group of pod " + uuid + " could not be removed",
                "a process in it does not die; remove it later with: gantry run gc");
}

void Pod::Forget() {
  plan_.kept = false;
  // The keeper looks there.
  if (ftruncate(lock_.get(), 0) < 0)
    ThrowErrno("empty the file of the pod " + dir_.name());
}

Pod::~Pod() {
  try {
    Remove();
  } catch (const std::exception&) {
    // The keeper tries again, and the sweep of the next run.
  }
}

namespace {

// The network of a dead pod whose lock we hold; what went wrong, if so.
std::optional<Error> ReleaseDead(const Dir& pods, const std::string& uuid) {
  try {
    ReleaseNetwork(Dir(UniqueFd(fcntl(pods.fd(), F_DUPFD_CLOEXEC, 3)), RealPath(pods.name())), uuid);
  } catch (const Error& error) {
    return Error(error.kind(), "pod " + uuid + ": " + error.message(),
                 "mend that, or give up what its network holds, with: gantry run rm --force " + uuid);
  }
  return std::nullopt;
}

// A dead pod whose lock we hold.
void RemoveDead(const Dir& pods, const std::string& uuid, const UniqueFd& lock, const std::optional<IdMap>& map) {
  if (lock)
    RemoveGroups(GroupLines(lock.get(), uuid), uuid);
  RemovePodTree(pods, uuid, map);
}

bool IsOld(const Dir& pods, const std::string& uuid, int file, const SweepAges& ages) {
  struct stat status {};
  if (fstat(file, &status) < 0)
    return false;
  bool prepared = false;
  try {
    const auto record = PodRecord::Read(pods, uuid);
    prepared = record && !record->events().empty() && record->events().back().kind == PodEvent::Kind::kPrepared;
  } catch (const Error&) {
    // what cannot be read can only have ended
  }
  const time_t age = time(nullptr) - status.st_mtime;
  return age >= 0 && static_cast<uint64_t>(age) >= (prepared ? ages.prepared : ages.ended);
}

}  // namespace

size_t SweepPods(const Dir& pods, const std::optional<IdMap>& map) {
  size_t swept = 0;
  for (const std::string& name : pods.List()) {
    UniqueFd lock;
    // Before the lock: whoever starts a pod that is kept is not to find it locked by us.
    if (!IsUuid(name) || IsKept(pods, name) || !IsDead(pods, name, lock))
      continue;
    if (ReleaseDead(pods, name))
      continue;  // no reason not to run another: gc tells it
    RemoveDead(pods, name, lock, map);
    ++swept;
  }
  return swept;
}

std::vector<std::string> SweepPods(const Dir& pods, const std::optional<IdMap>& map, const SweepAges& ages) {
  std::vector<std::string> swept;
  std::optional<Error> failed;
  for (const std::string& name : pods.List()) {
    UniqueFd lock;
    if (!IsUuid(name) || !IsDead(pods, name, lock))
      continue;
    if (auto error = ReleaseDead(pods, name)) {
      failed = std::move(error);
      continue;
    }
    if (lock && IsKept(lock.get()) && !IsOld(pods, name, lock.get(), ages))
      continue;
    RemoveDead(pods, name, lock, map);
    swept.push_back(name);
  }
  if (failed)
    throw *std::move(failed);
  return swept;
}

std::optional<Error> RemovePod(const Dir& pods, const std::string& uuid, const std::optional<IdMap>& map, bool force) {
  UniqueFd lock;
  for (int attempt = 0; !IsDead(pods, uuid, lock); ++attempt) {
    if (!pods.Exists(RelPath::Parse(uuid)))
      return std::nullopt;
    if (attempt == kTakeAttempts)
      throw Error(ErrorKind::kFailed, "pod " + uuid + " runs", "stop it first, or give --force");
    const timespec pause = {0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  auto error = ReleaseDead(pods, uuid);
  if (error && !force)
    throw *std::move(error);
  if (error)
    AbandonNetwork(pods, uuid);
  RemoveDead(pods, uuid, lock, map);
  return error;
}

}  // namespace gantry::runner
