// From a bundle's configuration to the plan that the container's child carries out (setup.h), and to the namespaces
// that it is started in.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runner/bundle_cgroup.h"
#include "runner/launch.h"
#include "runner/report.h"
#include "runner/setup.h"
#include "runner/spec.h"

namespace gantry::runner {

// What of the command line and of the surroundings matters.
struct BundlePlace {
  std::string id;
  std::string bundle;  // absolute
  std::string root;    // of the file system, absolute
  bool pivot = true;
  bool new_keyring = true;
  bool privileged = false;               // root of the machine, not of a user namespace
  bool labels = false;                   // init writes security labels
  uint64_t capabilities = ~uint64_t{0};  // that init needs
  bool early_network = false;            // its namespace is in the making; else it is made with the others
};

// Of the processes of a container: where the kernel keeps their keys.
std::string KeyringName(const std::string& id);

// Owns what its plan points at.
class BundleSetup {
 public:
  // Opens namespaces and mounts that only the runtime can. `spec` and `cgroup` must outlive this.
  BundleSetup(const Spec& spec, const BundlePlace& place, const BundleCgroup& cgroup);
  ~BundleSetup();

  SetupPlan& plan();
  const Namespaces& namespaces() const;

  // The words for what the child reports.
  Failure Explain(const Report& report, const SpecProcess& process) const;

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// The same for a process that enters a running container: `pid` is its first.
class EntrySetup {
 public:
  EntrySetup(pid_t pid, const BundleCgroup& cgroup, const SpecProcess& process, bool labels, uint64_t capabilities);
  ~EntrySetup();
  SetupPlan& plan();
  const Namespaces& namespaces() const;
  static Failure Explain(const Report& report, const SpecProcess& process);

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// The words for what init reports that was told to start, when the plan it was made by is long gone.
Failure ExplainStart(const Report& report, const Spec& spec);

// Whether setgroups is not to be called: in the user namespace of a single id of an ordinary user it is denied.
bool GroupsAreFixed(const Spec& spec);

// Whether this process is root of the machine; false for root of a user namespace.
bool IsHostRoot();

}  // namespace gantry::runner
