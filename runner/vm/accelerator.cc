#include "runner/vm/accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <array>
#include <cstring>

#include "libimage/base/error.h"
#include "libimage/base/process.h"

namespace gantry::runner::vm {
namespace {

constexpr size_t kGuestBytes = 0x10000;
constexpr suseconds_t kProbeMicroseconds = 3000;
constexpr int kProbeAttempts = 5;  // others may have the processor just then
constexpr const char* kCacheFile = "kvm";
constexpr size_t kMaxCacheBytes = 1024;

// How the child that probes ended.
enum ProbeCode { kWorks = 0, kNotFast = 10, kWrongEnd = 11, kNoMachine = 12, kNoDevice = 20 };

#if defined(__x86_64__)

kvm_run* run = nullptr;

void Stop(int) {
  if (run != nullptr)
    run->immediate_exit = 1;
}

// mov $20000,%ecx; 1: dec %ecx; jnz 1b; mov %cl,%al; out %al,$0x10; hlt
constexpr unsigned char kLoop[] = {0xB9, 0x20, 0x4E, 0x00, 0x00, 0xFF, 0xC9, 0x75, 0xFC, 0x88, 0xC8, 0xE6, 0x10, 0xF4};
constexpr uint64_t kCode = 0x8000;
constexpr uint64_t kTables = 0x1000;  // three pages: one entry each, then 2 MiB that are mapped to themselves

void PlaceGuest(char* memory) {
  std::memcpy(memory + kCode, kLoop, sizeof kLoop);
  const std::array<uint64_t, 3> entries = {(kTables + 0x1000) | 3, (kTables + 0x2000) | 3, 0x83};
  for (size_t i = 0; i < entries.size(); ++i)
    std::memcpy(memory + kTables + i * 0x1000, &entries[i], sizeof entries[i]);
}

bool EnterLongMode(int cpu) {
  kvm_sregs special{};
  if (ioctl(cpu, KVM_GET_SREGS, &special) < 0)
    return false;
  special.cr3 = kTables;
  special.cr4 |= 1U << 5;              // PAE
  special.cr0 |= 0x80000001;           // paging, protection
  special.efer |= 1U << 8 | 1U << 10;  // long mode, active
  kvm_segment code{};
  code.limit = 0xFFFFFFFF;
  code.selector = 8;
  code.type = 11;
  code.present = code.s = code.l = code.g = 1;
  kvm_segment data = code;
  data.type = 3;
  data.selector = 16;
  data.l = 0;
  data.db = 1;
  special.cs = code;
  special.ds = special.es = special.fs = special.gs = special.ss = data;
  kvm_regs registers{};
  registers.rip = kCode;
  registers.rflags = 2;
  return ioctl(cpu, KVM_SET_SREGS, &special) == 0 && ioctl(cpu, KVM_SET_REGS, &registers) == 0;
}

int RunGuest(int cpu) {
  struct sigaction action {};
  action.sa_handler = Stop;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval limit = {{0, 0}, {0, kProbeMicroseconds}};
  setitimer(ITIMER_REAL, &limit, nullptr);
  bool said = false;
  for (;;) {
    if (ioctl(cpu, KVM_RUN, 0) < 0)
      return errno == EINTR ? kNotFast : kWrongEnd;
    if (run->exit_reason == KVM_EXIT_HLT)
      return said ? kWorks : kWrongEnd;
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x10)
      return kWrongEnd;
    said = true;
  }
}

int Probe() {
  const UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm)
    return kNoDevice;
  if (ioctl(kvm.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
    return kNoMachine;
  const UniqueFd machine(ioctl(kvm.get(), KVM_CREATE_VM, 0));
  void* memory = mmap(nullptr, kGuestBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!machine || memory == MAP_FAILED)
    return kNoMachine;
  PlaceGuest(static_cast<char*>(memory));
  kvm_userspace_memory_region region{};
  region.memory_size = kGuestBytes;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory);
  if (ioctl(machine.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0)
    return kNoMachine;
  const UniqueFd cpu(ioctl(machine.get(), KVM_CREATE_VCPU, 0));
  const int size = ioctl(kvm.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (!cpu || size < static_cast<int>(sizeof(kvm_run)))
    return kNoMachine;
  void* shared = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, cpu.get(), 0);
  if (shared == MAP_FAILED || !EnterLongMode(cpu.get()))
    return kNoMachine;
  run = static_cast<kvm_run*>(shared);
  return RunGuest(cpu.get());
}

#else

int Probe() { return kNoDevice; }

#endif

std::string BootId() {
  std::string out = ReadFile("/proc/sys/kernel/random/boot_id", 128);
  return out.substr(0, out.find('\n'));
}

// The cached answer of this boot: empty for KVM that works.
std::optional<std::string> Cached(const Dir& cache, const std::string& boot) {
  const RelPath name = RelPath::Parse(kCacheFile);
  if (!cache.Exists(name))
    return std::nullopt;
  const std::string text = cache.ReadFile(name, kMaxCacheBytes);
  const size_t line = text.find('\n');
  if (line == std::string::npos || text.substr(0, line) != boot)
    return std::nullopt;
  return text.substr(line + 1);
}

}  // namespace

std::optional<Accelerator> ParseAccelerator(std::string_view text) {
  if (text == "kvm")
    return Accelerator::kKvm;
  if (text == "tcg")
    return Accelerator::kTcg;
  if (text == "auto" || text.empty())
    return std::nullopt;
  throw Error(ErrorKind::kUsage, "accelerator " + Quoted(text) + " is unknown", "give --accel=kvm, tcg or auto");
}

std::string ProbeKvm() {
  int code = kNotFast;
  for (int attempt = 0; attempt < kProbeAttempts && code == kNotFast; ++attempt)
    code = Process::Fork(Probe).Wait().code;
  switch (code) {
    case kWorks:
      return {};
    case kNoDevice:
      return access("/dev/kvm", F_OK) < 0 ? "there is no /dev/kvm" : "/dev/kvm cannot be opened";
    case kNotFast:
      return "a loop that takes a processor microseconds is not done after 3 ms: this KVM emulates its guests";
    case kNoMachine:
      return "/dev/kvm makes no virtual machine";
    default:
      return "a guest of a few instructions does not end as it should";
  }
}

AcceleratorChoice ChooseAccelerator(std::optional<Accelerator> wanted, const Dir& cache) {
  if (wanted == Accelerator::kTcg)
    return {Accelerator::kTcg, {}};
  const std::string boot = BootId();
  std::optional<std::string> problem = Cached(cache, boot);
  if (!problem) {
    problem = ProbeKvm();
    cache.WriteFileAtomically(RelPath::Parse(kCacheFile), boot + "\n" + *problem);
  }
  if (problem->empty())
    return {Accelerator::kKvm, {}};
  if (wanted)
    throw Error(ErrorKind::kUnsupported, "KVM does not work here: " + *problem, "give --accel=tcg for emulation");
  return {Accelerator::kTcg, *problem};
}

unsigned long MeasureTscKhz() {
#if defined(__x86_64__)
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
  };
  // The pair that was read in the shortest time: nothing came in between.
  const auto sample = [&] {
    std::pair<uint64_t, uint64_t> best{};
    uint64_t shortest = UINT64_MAX;
    for (int i = 0; i < 16; ++i) {
      const uint64_t before = __rdtsc();
      const uint64_t time = now();
      const uint64_t after = __rdtsc();
      if (after - before < shortest) {
        shortest = after - before;
        best = {before + (after - before) / 2, time};
      }
    }
    return best;
  };
  const auto first = sample();
  const timespec pause = {0, 2'000'000};
  nanosleep(&pause, nullptr);
  const auto last = sample();
  if (last.second <= first.second)
    return 0;
  return static_cast<unsigned long>((last.first - first.first) * 1'000'000 / (last.second - first.second));
#else
  return 0;
#endif
}

}  // namespace gantry::runner::vm
