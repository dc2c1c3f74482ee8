#include "runner/vm/share.h"

#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "runner/named_socket.h"
#include "runner/vm/job.h"

namespace gantry::runner::vm {
namespace {

constexpr const char* kServer = "/usr/lib/qemu/virtiofsd";
constexpr const char* kShareDir = "/share";

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

// What it needs to act for the users of the guest, who own what they make; it sees the volume and nothing else.
constexpr uint64_t kServerCapabilities = Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) |
                                         Bit(CAP_SETGID) | Bit(CAP_SETUID) | Bit(CAP_MKNOD) | Bit(CAP_SETFCAP) |
                                         Bit(CAP_SYS_CHROOT) | Bit(CAP_SETPCAP);

std::string SubjectOf(const Volume& volume) { return Quoted(volume.source + ":" + volume.target); }

// A socket that listens, and the one connection to it: nobody else finds the way to it.
std::pair<UniqueFd, UniqueFd> ListenOnce(const Dir& dir) {
  constexpr const char* kSocket = "socket";
  UniqueFd listener = ListenIn(dir, kSocket, SOCK_STREAM);
  UniqueFd connection = ConnectIn(dir, kSocket, SOCK_STREAM);
  if (!connection)
    ThrowErrno("make a socket for a volume");
  unlinkat(dir.fd(), kSocket, 0);
  return {std::move(listener), std::move(connection)};
}

}  // namespace

void RequireShareServer() {
  if (access(kServer, X_OK) < 0)
    throw Error(ErrorKind::kUnsupported, "a volume of a virtual machine needs " + std::string(kServer),
                "install qemu-system-common, or run without --volume");
}

Share StartShare(const Volume& volume, size_t index, const ShareOwner& owner) {
  struct stat status {};
  if (stat(volume.source.c_str(), &status) < 0)
    ThrowErrno("open the source of volume " + SubjectOf(volume));
  const bool directory = S_ISDIR(status.st_mode);
  if (!directory && !S_ISREG(status.st_mode))
    throw Error(ErrorKind::kUnsupported, "volume " + SubjectOf(volume) + " is neither a file nor a directory",
                "a virtual machine can be shown no other; run without --isolation=vm");
  const std::string root = owner.directory + "/" + std::to_string(index);
  if (mkdir(root.c_str(), 0755) < 0)
    ThrowErrno("make the directory " + Quoted(root));
  auto [listener, connection] = ListenOnce(Dir::Open(root));
  ConfinedProgram program;
  program.args = {kServer,
                  "--fd=3",
                  "-f",
                  "-o",
                  std::string("source=") + kShareDir,
                  "-o",
                  "sandbox=chroot",
                  "-o",
                  "cache=auto",
                  "-o",
                  "xattr",
                  "-o",
                  "log_level=err"};
  program.fds = {listener.get()};
  program.places = {{volume.source, directory ? kShareDir : std::string(kShareDir) + "/" + kSharedFile,
                     !volume.read_only, volume.recursive}};
  program.proc = true;
  program.capabilities = kServerCapabilities;
  program.filter = false;  // it has its own, and needs calls that containers may not make
  program.output = owner.output;
  program.owner = owner.name;
  program.root = root;
  program.cgroup = &owner.cgroup;
  return {StartConfined(program), std::move(connection), directory};
}

}  // namespace gantry::runner::vm
