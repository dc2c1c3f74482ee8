#include "runner/vm/machine.h"

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "runner/confined_program.h"
#include "runner/vm/frame.h"
#include "runner/vm/job.h"

namespace gantry::runner::vm {
namespace {

// ACPI: Debian's kernels find virtio devices by it alone. The old timers: without them a kernel that is emulated
// takes seconds to find out how fast it is, or does not begin at all.
constexpr const char* kBoard = "microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,auto-kernel-cmdline=off,usb=off";

void Add(std::vector<std::string>& out, std::initializer_list<std::string> more) { out.insert(out.end(), more); }

void AddRoot(size_t app, int fd, std::vector<std::string>& out) {
  const std::string node = "root-" + std::to_string(app);
  const std::string set = std::to_string(app + 2);  // the first is the console's
  Add(out, {"-add-fd", "fd=" + std::to_string(fd) + ",set=" + set, "-blockdev",
            "driver=raw,node-name=" + node + ",read-only=on,file.driver=file,file.filename=/dev/fdset/" + set +
                ",file.locking=off",
            "-device", "virtio-blk-device,drive=" + node + ",serial=" + kRootSerial + std::to_string(app)});
}

}  // namespace

std::string FindMachineProgram() {
  constexpr const char* kProgram = "qemu-system-x86_64";
  const std::string program = FindHostProgram(kProgram);
  if (program.empty())
    throw Error(ErrorKind::kUnsupported, std::string(kProgram) + " is not installed",
                "install qemu-system-x86, or run without a virtual machine");
  // A link would lead out of what the program is shown of the system.
  return RealPath(program);
}

int BootSeconds(Accelerator accelerator) { return accelerator == Accelerator::kTcg ? 120 : 20; }

void RequireRoom(const Machine& machine) {
  constexpr size_t kMaxDevices = 22;  // of the board, beside the serial bus; with one more the guest hangs
  if (machine.roots + machine.shares + machine.macs.size() > kMaxDevices)
    throw Error(ErrorKind::kUnsupported,
                "a virtual machine takes at most 22 images, volumes and network devices altogether",
                "run fewer images in it, or show a directory above the volumes");
}

std::string KernelArguments(const Machine& machine) {
  std::string out =
      "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t rcupdate.rcu_expedited=1 cryptomgr.notests 8250.nr_uarts=1 "
      "random.trust_cpu=on";
  if (machine.accelerator == Accelerator::kTcg) {
    out += " tsc=reliable no_timer_check";
    if (machine.tsc_khz != 0)
      out += " tsc_early_khz=" + std::to_string(machine.tsc_khz);
  }
  if (machine.cpus == 1)
    out += " noreplace-smp";
  return out;
}

std::vector<std::string> MachineArguments(const Machine& machine) {
  const bool kvm = machine.accelerator == Accelerator::kKvm;
  const std::string memory = std::to_string(machine.memory_mib) + "M";
  std::vector<std::string> out = {machine.program};
  Add(out, {"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"});
  // virtiofsd speaks to devices of version 1 alone.
  Add(out, {"-global", "virtio-mmio.force-legacy=false"});
  // After start-up it may execute nothing, change no ids, and set no limits.
  Add(out, {"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"});
  Add(out, {"-machine", std::string(kBoard) + (machine.shares == 0 ? "" : ",memory-backend=memory")});
  Add(out, {"-accel", kvm ? "kvm" : "tcg", "-cpu", kvm ? "host" : "max"});
  Add(out, {"-m", memory, "-smp", std::to_string(machine.cpus)});
  Add(out, {"-kernel", kKernelPath, "-initrd", kInitramfsPath, "-append", KernelArguments(machine)});
  Add(out, {"-add-fd", "fd=" + std::to_string(kConsoleFd) + ",set=1", "-chardev",
            "file,id=console,path=/dev/fdset/1,append=on", "-serial", "chardev:console"});
  Add(out,
      {"-chardev", "socket,id=channel,fd=" + std::to_string(kChannelFd), "-device", "virtio-serial-device,max_ports=2",
       "-device", std::string("virtserialport,chardev=channel,name=") + kPortName});
  int fd = kRootFd;
  for (size_t i = 0; i < machine.roots; ++i) AddRoot(i, fd++, out);
  if (machine.shares > 0)
    Add(out, {"-object", "memory-backend-memfd,id=memory,share=on,size=" + memory});
  for (size_t i = 0; i < machine.shares; ++i) {
    const std::string id = std::to_string(i);
    Add(out, {"-chardev", "socket,id=share" + id + ",fd=" + std::to_string(fd++), "-device",
              "vhost-user-fs-device,queue-size=256,chardev=share" + id + ",tag=volume-" + id});
  }
  for (size_t i = 0; i < machine.macs.size(); ++i) {
    const std::string id = "net" + std::to_string(i);
    Add(out, {"-netdev", "tap,vhost=off,id=" + id + ",fd=" + std::to_string(fd++), "-device",
              "virtio-net-device,netdev=" + id + ",mac=" + machine.macs[i]});
  }
  return out;
}

}  // namespace gantry::runner::vm
