#include "tools/run_machine.h"

#include "libimage/base/error.h"
#include "tools/run_pod.h"

namespace gantry::tools {

void AddIsolationOptions(CLI::App& app, IsolationOptions& options) {
  app.add_option("--isolation", options.isolation, "namespaces (the default), or vm: a virtual machine of its own")
      ->check(CLI::IsMember({"namespaces", "vm"}))
      ->type_name("namespaces|vm")
      ->option_text("namespaces|vm");
  app.add_option("--accel", options.accelerator, "of the virtual machine: kvm, tcg (emulation), or auto (the default)")
      ->check(CLI::IsMember({"kvm", "tcg", "auto"}))
      ->type_name("kvm|tcg|auto")
      ->option_text("kvm|tcg|auto");
  app.add_option("--kernel", options.machine.kernel, "the virtual machine's kernel; default: the newest in /boot")
      ->type_name("FILE");
  app.add_option("--boot-timeout", options.machine.boot_seconds,
                 "how long the virtual machine may take to start; default: 20, emulated 120")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 3600))
      ->option_text("SECONDS");
  app.add_flag("--verified-boot", options.machine.verified,
               "record the digests of the kernel, initramfs and root that the virtual machine starts with");
}

std::optional<runner::vm::MachineOptions> TakeIsolation(const IsolationOptions& options) {
  runner::vm::MachineOptions out = options.machine;
  out.accelerator = runner::vm::ParseAccelerator(options.accelerator);
  if (options.isolation == "vm")
    return out;
  const char* const given = !options.accelerator.empty() ? "--accel"
                            : !out.kernel.empty()        ? "--kernel"
                            : out.boot_seconds != 0      ? "--boot-timeout"
                            : out.verified               ? "--verified-boot"
                                                         : nullptr;
  if (given != nullptr)
    throw Error(ErrorKind::kUsage, std::string(given) + " is for virtual machines", "give --isolation=vm, too");
  return std::nullopt;
}

runner::vm::MachineParts RequireMachine(const PodOptions& options) {
  const char* const beyond = options.metadata          ? "have a metadata service"
                             : options.notify == "app" ? "show its app the notify socket of systemd"
                                                       : nullptr;
  if (beyond != nullptr)
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot " + std::string(beyond),
                "run it without --isolation=vm");
  return runner::vm::FindMachineParts(*options.machine);
}

}  // namespace gantry::tools
