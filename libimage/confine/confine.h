// Giving up what a process does not need, before it reads its first byte from outside.
//
// Confine is one way: Landlock for files and ports (landlock(7)), a seccomp filter against system calls that no gantry
// tool makes, an empty capability set but for what is kept, and no_new_privs. It holds for the calling thread and all
// threads and children made afterwards, so it comes before the first thread. It can be called again to give up more.
// It is a second wall, not the first: parsers are bounded and paths are resolved under descriptors all the same.
#pragma once

#include <string>
#include <vector>

namespace gantry::image {

// What is kept. Paths that do not exist are left out; a path may be a file or a directory with all below it.
struct Confinement {
  std::vector<std::string> read;     // open for reading, list
  std::vector<std::string> write;    // read, create, write, rename, remove
  std::vector<std::string> remove;   // directories: names in them can be removed, and nothing more
  std::vector<std::string> execute;  // read and execute; empty: no execve at all
  bool network = false;              // internet sockets; without it only Unix ones can be made
  bool unix_sockets = true;          // false: socket(2) fails for every family
  bool signals = false;              // to processes that are not confined, too
  std::vector<int> capabilities;     // CAP_* numbers, as far as the process has them
};

// Where programs and libraries of the system are, for `execute`; and what they read: name service, locales, TLS roots,
// random numbers, /proc/self.
std::vector<std::string> SystemPrograms();
std::vector<std::string> SystemFiles();

// Applies it. kFailed when a step that the kernel has fails. The answer lists what this kernel has no means for ("this
// kernel has no Landlock: ..."), one line each; empty when all of it holds.
std::vector<std::string> Confine(const Confinement& keep);

// For people, a line each: what is kept, and the kernel's Landlock version.
std::string Describe(const Confinement& keep);

}  // namespace gantry::image
