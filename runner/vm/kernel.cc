#include "runner/vm/kernel.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::runner::vm {
namespace {

constexpr size_t kHeadBytes = 64 * 1024;  // of a kernel, with its version
constexpr size_t kMaxVersion = 128;
constexpr size_t kMaxIndexLine = 64 * 1024;

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool IsVersion(std::string_view text) {
  return !text.empty() && text.size() <= kMaxVersion && text.front() != '.' &&
         std::ranges::all_of(text,
                             [](unsigned char c) { return std::isalnum(c) != 0 || strchr("+-._~", c) != nullptr; });
}

std::string ReadHead(const std::string& file) {
  const UniqueFd fd = OpenFile(file, O_RDONLY | O_NONBLOCK);
  std::string out(kHeadBytes, '\0');
  out.resize(ReadFull(fd.get(), std::as_writable_bytes(std::span(out)), file));
  return out;
}

std::string ModulesOf(const std::string& file, const std::string& version) {
  const size_t slash = RealPath(file).rfind('/');
  const std::string beside = RealPath(file).substr(0, slash) + "/../lib/modules/" + version;
  for (const std::string& dir : {beside, "/lib/modules/" + version}) {
    if (IsDirectory(dir))
      return RealPath(dir);
  }
  return {};
}

// "kernel/drivers/block/virtio_blk.ko.xz" is "virtio_blk", and so is "virtio-blk".
std::string ModuleName(std::string_view path) {
  const size_t slash = path.rfind('/');
  std::string out(slash == std::string_view::npos ? path : path.substr(slash + 1));
  out = out.substr(0, out.find(".ko"));
  std::ranges::replace(out, '-', '_');
  return out;
}

template <typename Each>
void ForEachLine(std::string_view text, Each each) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.size() <= kMaxIndexLine)
      each(line);
  }
}

// A path that stays below the directory of the index.
bool IsModulePath(std::string_view path) {
  return !path.empty() && path.front() != '/' && path.find("..") == std::string_view::npos &&
         path.find(".ko") != std::string_view::npos;
}

std::string ReadIndex(const std::string& path) {
  return access(path.c_str(), F_OK) == 0 ? ReadFile(path, kMaxModuleIndex) : std::string();
}

}  // namespace

std::optional<std::string> KernelVersion(std::string_view head) {
  constexpr size_t kMagic = 0x202;
  constexpr size_t kPointer = 0x20E;
  if (head.size() < kPointer + 2 || head.substr(kMagic, 4) != "HdrS")
    return std::nullopt;
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(head[i])); };
  const size_t at = 0x200 + byte(kPointer) + (byte(kPointer + 1) << 8);
  if (at == 0x200 || at >= head.size())
    return std::nullopt;
  const std::string_view text = head.substr(at, kMaxVersion);
  const std::string version(text.substr(0, text.find_first_of(std::string_view(" \0", 2))));
  return IsVersion(version) ? std::optional(version) : std::nullopt;
}

bool OlderKernel(const std::string& a, const std::string& b) { return strverscmp(a.c_str(), b.c_str()) < 0; }

GuestKernel FindKernel(const std::string& given) {
  if (!given.empty()) {
    const auto version = KernelVersion(ReadHead(given));
    if (!version)
      throw Error(ErrorKind::kUnsupported, Quoted(given) + " is not a bzImage of Linux",
                  "give --kernel a file like /boot/vmlinuz-VERSION");
    return {RealPath(given), *version, ModulesOf(given, *version)};
  }
  constexpr std::string_view kPrefix = "vmlinuz-";
  std::optional<GuestKernel> best;
  const auto for_machines = [](const GuestKernel& kernel) {
    return kernel.version.find("-cloud-") != std::string::npos;
  };
  const std::vector<std::string> names = IsDirectory("/boot") ? Dir::Open("/boot").List() : std::vector<std::string>();
  for (const std::string& name : names) {
    const std::string file = "/boot/" + name;
    if (!name.starts_with(kPrefix) || access(file.c_str(), R_OK) < 0)
      continue;
    const auto version = KernelVersion(ReadHead(file));
    GuestKernel kernel{file, version.value_or(""), version ? ModulesOf(file, *version) : ""};
    if (kernel.modules.empty())
      continue;
    const bool better =
        !best || (for_machines(kernel) != for_machines(*best) ? for_machines(kernel)
                                                              : OlderKernel(best->version, kernel.version));
    if (better)
      best = std::move(kernel);
  }
  if (!best)
    throw Error(ErrorKind::kNotFound,
                "no kernel for a virtual machine: /boot has none that can be read and has modules",
                "install linux-image-cloud-amd64, or name one with --kernel FILE");
  return *std::move(best);
}

ModuleOrder OrderModules(std::string_view dep, std::string_view builtin, const std::vector<std::string>& names) {
  // Each module's line: its file, and those it depends on, the one to load last first.
  std::map<std::string, std::string_view, std::less<>> lines;
  ForEachLine(dep, [&](std::string_view line) {
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && IsModulePath(line.substr(0, colon)))
      lines.emplace(ModuleName(line.substr(0, colon)), line);
  });
  std::set<std::string, std::less<>> in_kernel;
  ForEachLine(builtin, [&](std::string_view line) { in_kernel.insert(ModuleName(line)); });
  ModuleOrder out;
  const auto add = [&](std::string_view file) {
    const bool there = std::ranges::find(out.files, file) != out.files.end();
    if (!there && IsModulePath(file) && out.files.size() < kMaxModules)
      out.files.emplace_back(file);
  };
  for (const std::string& name : names) {
    const auto line = lines.find(name);
    if (line == lines.end()) {
      if (!in_kernel.contains(name))
        out.missing.push_back(name);
      continue;
    }
    const size_t colon = line->second.find(':');
    std::string_view rest = line->second.substr(colon + 1);
    std::vector<std::string_view> needed;
    while (!rest.empty()) {
      const size_t space = std::min(rest.find(' '), rest.size());
      needed.push_back(rest.substr(0, space));
      rest.remove_prefix(std::min(space + 1, rest.size()));
    }
    for (auto file = needed.rbegin(); file != needed.rend(); ++file) add(*file);
    add(line->second.substr(0, colon));
  }
  return out;
}

std::vector<std::string> ModuleFiles(const GuestKernel& kernel, const std::vector<std::string>& names) {
  if (kernel.modules.empty())
    return {};
  const ModuleOrder order =
      OrderModules(ReadIndex(kernel.modules + "/modules.dep"), ReadIndex(kernel.modules + "/modules.builtin"), names);
  if (!order.missing.empty())
    throw Error(
        ErrorKind::kUnsupported,
        "kernel " + kernel.version + " has no module " + Quoted(order.missing.front()) + " in " + kernel.modules,
        "is modules.dep there (depmod)? or name another kernel with --kernel FILE");
  std::vector<std::string> out;
  for (const std::string& file : order.files) out.push_back(kernel.modules + "/" + file);
  return out;
}

}  // namespace gantry::runner::vm
