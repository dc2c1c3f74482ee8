#include "runner/report.h"

#include <errno.h>
#include <string.h>

#include <string_view>

namespace gantry::runner {
namespace {

constexpr const char* kFilesHint = "raise the limit of open files (ulimit -n)";

// A table that the compiler holds complete.
std::string_view What(Step step) {  // NOLINT(readability-function-size)
  switch (step) {
    case Step::kNetworkNamespace:
      return "enter the network namespace that was made for it";
    case Step::kIdMap:
      return "map the ids of the user namespace";
    case Step::kBecomeRoot:
      return "become root of the user namespace";
    case Step::kSession:
      return "start a session";
    case Step::kJoinCgroup:
      return "join the control group";
    case Step::kCgroupNamespace:
      return "make a cgroup namespace";
    case Step::kPrivateMounts:
      return "make the mounts private";
    case Step::kOpenLayer:
      return "open a directory of the root file system";
    case Step::kOverlay:
      return "mount the layers with overlayfs";
    case Step::kAttachRoot:
      return "attach the root file system";
    case Step::kEtc:
      return "write a file in the container's /etc";
    case Step::kProc:
      return "mount /proc";
    case Step::kSys:
      return "mount /sys";
    case Step::kCgroupMount:
      return "mount /sys/fs/cgroup";
    case Step::kDev:
      return "fill /dev";
    case Step::kDevPts:
      return "mount /dev/pts";
    case Step::kDevShm:
      return "mount /dev/shm";
    case Step::kDevMqueue:
      return "mount /dev/mqueue";
    case Step::kConsole:
      return "make the terminal";
    case Step::kMask:
      return "hide a path";
    case Step::kReadOnly:
      return "make a path read-only";
    case Step::kVolumeSource:
      return "open the source of volume";
    case Step::kVolumeTarget:
      return "find or make the target of volume";
    case Step::kVolumeMount:
      return "mount volume";
    case Step::kSecret:
      return "make the secret";
    case Step::kHandler:
      return "start the pre-start handler";
    case Step::kHandlerCode:
      return "finish the pre-start handler";
    case Step::kWorkingDir:
      return "make the working directory";
    case Step::kReadOnlyRoot:
      return "make the root file system read-only";
    case Step::kLoopback:
      return "start the loopback device";
    case Step::kHostname:
      return "set the host name";
    case Step::kPivot:
      return "change the root";
    case Step::kStandardInput:
      return "open standard input";
    case Step::kCapabilities:
      return "drop capabilities";
    case Step::kNoNewPrivs:
      return "set no_new_privs";
    case Step::kStartInit:
      return "start the container's init";
    case Step::kReceive:
      return "receive the container's parameters";
    case Step::kFilter:
      return "load the system call filter";
    case Step::kFork:
      return "start the application's process";
    case Step::kTerminal:
      return "take the terminal";
    case Step::kChangeDir:
      return "enter the working directory";
    case Step::kGroups:
      return "set supplementary groups";
    case Step::kUser:
      return "become the user";
    case Step::kExecute:
      return "execute";
    case Step::kTimeNamespace:
      return "make a time namespace";
    case Step::kBundleRoot:
      return "open the root file system of the bundle";
    case Step::kMountSource:
      return "open the source of the mount";
    case Step::kMountTarget:
      return "find or make the place of the mount";
    case Step::kMount:
      return "mount";
    case Step::kCopyUp:
      return "copy what is below the mount";
    case Step::kNode:
      return "make the device";
    case Step::kHook:
      return "run the hook";
    case Step::kHookCode:
      return "finish the hook";
    case Step::kSysctl:
      return "set the sysctl";
    case Step::kDomainname:
      return "set the domain name";
    case Step::kPersonality:
      return "set the personality";
    case Step::kListener:
      return "give the seccomp agent its listener";
    case Step::kLimit:
      return "set the limit";
    case Step::kScheduler:
      return "set the scheduler";
    case Step::kIoPriority:
      return "set the I/O priority";
    case Step::kAffinity:
      return "run on the processors of process.execCPUAffinity";
    case Step::kLabel:
      return "set the security label";
    case Step::kPreserve:
      return "pass on descriptors";
  }
  return "set up the container";
}

std::string NameOf(const Volume& volume) {
  return volume.source.empty() ? volume.target : volume.source + ":" + volume.target;
}

std::string Subject(const Report& report, const RunConfig& config, const SetupPlan& plan) {
  const size_t i = report.index;
  switch (report.step) {
    case Step::kVolumeSource:
    case Step::kVolumeTarget:
    case Step::kVolumeMount:
      return i < config.volumes.size() ? " " + Quoted(NameOf(config.volumes[i])) : "";
    case Step::kLimit:
      return i < config.ulimits.size() ? " " + LimitName(config.ulimits[i].resource) : "";
    case Step::kSecret:
      return i < config.secrets.size() ? " " + Quoted(config.secrets[i].name) : "";
    case Step::kNode:
      return i < config.devices.size() ? " " + Quoted(config.devices[i].target) : "";
    case Step::kHandler:
    case Step::kHandlerCode:
      return i < config.pre_start.size() ? " " + Quoted(config.pre_start[i].args.front()) : "";
    case Step::kMask:
      return i < kMaskedPathCount ? std::string(" /") + kMaskedPaths[i] : "";
    case Step::kReadOnly:
      return i < kReadOnlyPathCount ? std::string(" /") + kReadOnlyPaths[i] : "";
    case Step::kOpenLayer:
      return i < plan.layer_count ? " " + Quoted(plan.layers[i]) : "";
    case Step::kEtc:
      return i < plan.etc_count && plan.etc[i].name != nullptr ? std::string(" /") + plan.etc[i].name : "";
    case Step::kWorkingDir:
    case Step::kChangeDir:
      return " " + Quoted(config.working_dir);
    case Step::kExecute:
      return " " + Quoted(config.args.front());
    default:
      return "";
  }
}

std::string Hint(const Report& report, const SetupPlan& plan) {
  switch (report.step) {
    case Step::kVolumeSource:
      return "give the path of an existing file or directory that you may open";
    case Step::kVolumeTarget:
      if (report.error == EEXIST)
        return "choose a target whose directories the image has, or none of";
      return "choose a target that is of the source's kind: both a directory, or both a file";
    case Step::kProc:
    case Step::kSys:
      if (report.error == EPERM)
        return "inside another container, parts of /proc or /sys are hidden, and the kernel then allows no new ones: "
               "run it with its /proc and /sys unmasked";
      return "";
    case Step::kOverlay:
      return plan.user_namespace ? "overlayfs without root needs Linux 5.11 and a store on a local file system"
                                 : "the store must lie on a local file system that overlayfs can write on";
    case Step::kUser:
    case Step::kGroups:
      return plan.single_id ? "only id 0 is mapped; an administrator adds a range to /etc/subuid and /etc/subgid" : "";
    case Step::kFork:
      return report.error == EAGAIN
                 ? "the limit of processes is reached: that of --pids, or that of our own control group"
                 : "";
    case Step::kLimit:
      return report.error == EPERM ? "raising a hard limit needs CAP_SYS_RESOURCE, and none is above fs.nr_open" : "";
    case Step::kWorkingDir:
    case Step::kChangeDir:
      return "give another one with --workdir";
    case Step::kExecute:
      if (report.error == ENOEXEC)
        return "it is neither a program for this machine nor a script with a first line like #!/bin/sh";
      if (report.error == EACCES)
        return "it is no file that this user may execute; see what the image holds";
      return "see what the image holds, or name the program with --entrypoint";
    default:
      return "";
  }
}

int CodeOf(const Report& report) {
  if (report.step == Step::kChangeDir)
    return 126;
  if (report.step != Step::kExecute)
    return 125;
  return report.error == ENOENT || report.error == ENOTDIR ? 127 : 126;
}

}  // namespace

Failure DescribeFailure(const Report& report, const std::string& subject, const std::string& hint) {
  if (report.step != Step::kExecute && (report.error == EMFILE || report.error == ENFILE) && hint != kFilesHint)
    return DescribeFailure(report, subject, kFilesHint);
  const std::string detail(report.detail, strnlen(report.detail, sizeof report.detail));
  std::string why = report.step == Step::kHookCode || report.step == Step::kHandlerCode
                        ? "it ended with " + std::to_string(report.error)
                    : report.error == ETIME ? "it took longer than its timeout"
                                            : strerror(report.error);
  ErrorKind kind = ErrorKind::kFailed;
  if (report.step == Step::kExecute && report.error == ENOENT) {
    kind = ErrorKind::kNotFound;
    why = detail.empty() ? "not found in the container"
                         : "its interpreter " + Quoted(detail) + " is not in the container";
  } else if (!detail.empty() && report.step != Step::kChangeDir) {
    why += " (" + Quoted(detail.substr(0, detail.find('\n'))) + ")";
  }
  return {CodeOf(report), Error(kind, "cannot " + std::string(What(report.step)) + subject + ": " + why, hint)};
}

Failure Explain(const Report& report, const RunConfig& config, const SetupPlan& plan) {
  const bool option = report.step == Step::kExecute && config.args.front().starts_with('-');
  return DescribeFailure(report, Subject(report, config, plan),
                         option ? "options come before the image, its command after it" : Hint(report, plan));
}

}  // namespace gantry::runner
