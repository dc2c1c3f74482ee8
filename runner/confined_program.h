// A program of the host that a run needs beside it (a machine, a file server), in a container of our own making.
//
// It sees the system's programs and libraries, read-only, and what it is given; no network, no other process; it has no
// capability, cannot gain any, and is under the filter that containers are under. As root it is a user of its own, so
// that two of them cannot touch each other; without root it is the caller in a user namespace. It dies with the runner,
// and it counts in its owner's control groups.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/bundle_cgroup.h"

namespace gantry::runner {

struct ConfinedProgram {
  // What it is shown beside the system: a file or a directory of the host.
  struct Place {
    std::string source;
    std::string target;
    bool writable = false;
    bool recursive = true;  // with what is mounted below it
  };
  std::vector<std::string> args;  // the program first, absolute
  std::vector<int> fds;           // become 3 and up
  int output = -1;                // becomes 1 and 2; 0 is empty
  std::vector<Place> places;
  bool kvm = false;   // /dev/kvm
  bool proc = false;  // a /proc of its own, read-only
  // Capabilities over files, for a server of them; then it is root, of the host or of the user namespace.
  uint64_t capabilities = 0;
  bool filter = true;                    // the system call filter of containers; else it brings one of its own
  std::string owner;                     // whose it is, a pod or a container: the user that it is comes of that
  std::string root;                      // an empty directory of the owner's, where its root is put together
  const BundleCgroup* cgroup = nullptr;  // opened for joining
};

// The path of a program in PATH, or where administrators' programs are; empty when there is none.
std::string FindHostProgram(const std::string& name);

// Returns when the program is executed; throws when it cannot be.
gantry::Process StartConfined(const ConfinedProgram& program);

}  // namespace gantry::runner
