#include "runner/vm/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdio>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/stream.h"
#include "libimage/layer/compression.h"
#include "runner/sealed_init.h"
#include "runner/vm/guest_init.h"

namespace gantry::runner::vm {
namespace {

constexpr size_t kDigestDigits = 24;
constexpr const char* kForm = "2\n";              // of what is made here
constexpr const char* kSignatureSuffix = ".sig";  // guest/boot.cc knows it

void Pad(std::string& out) { out.append((4 - out.size() % 4) % 4, '\0'); }

void AddEntry(const CpioEntry& entry, uint32_t inode, std::string& out) {
  std::array<char, 128> header{};
  // magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const int size =
      std::snprintf(header.data(), header.size(), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode,
                    entry.mode, 0U, 0U, 1U, 0U, static_cast<unsigned>(entry.data.size()), 0U, 0U, entry.major,
                    entry.minor, static_cast<unsigned>(entry.name.size() + 1), 0U);
  out.append(header.data(), static_cast<size_t>(size));
  out.append(entry.name).push_back('\0');
  Pad(out);
  out.append(entry.data);
  Pad(out);
}

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Some distributions compress modules; a kernel need not be able to load those.
std::string ReadModule(const std::string& path) {
  const auto source =
      image::DecompressAny(FdSource(OpenFile(path, O_RDONLY), path), path, {.max_bytes = kMaxModuleBytes});
  std::string out;
  for (Block block = source->Next(); !block.empty(); block = source->Next()) out.append(Text(block.bytes()));
  return out;
}

// What the archive is made of, for its name.
std::string KeyOf(const GuestKernel& kernel, const std::vector<std::string>& files) {
  std::string text = kForm;
  text +=
      kernel.version + "\n" + Digest::Of(Text(GuestInit())).str() + "\n" + Digest::Of(Text(InitProgram())).str() + "\n";
  for (const std::string& file : files) {
    struct stat status {};
    if (stat(file.c_str(), &status) < 0)
      ThrowErrno("look at the kernel module " + Quoted(file));
    text += file + " " + std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
            std::to_string(status.st_mtim.tv_nsec) + "\n";
  }
  return Digest::Of(text).hex().substr(0, kDigestDigits);
}

std::string MakeInitramfs(const std::vector<std::string>& files) {
  std::vector<SignedModule> modules;
  for (const std::string& file : files) modules.push_back(SplitSignature(ReadModule(file)));
  std::vector<CpioEntry> entries = {
      {"dev", S_IFDIR | 0755},
      {"dev/console", S_IFCHR | 0600, {}, 5, 1},
      {"gantry-init", S_IFREG | 0755, Text(InitProgram())},
      {"init", S_IFREG | 0755, Text(GuestInit())},
      {"modules", S_IFDIR | 0755},
  };
  std::string list;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = files[i].substr(files[i].rfind('/') + 1);
    list += name + "\n";
    entries.push_back({"modules/" + name, S_IFREG | 0644, modules[i].module});
    if (!modules[i].signature.empty())
      entries.push_back({"modules/" + name + kSignatureSuffix, S_IFREG | 0644, modules[i].signature});
  }
  entries.push_back({"modules/list", S_IFREG | 0644, list});
  return MakeCpio(entries);
}

}  // namespace

SignedModule SplitSignature(std::string module) {
  // Documentation/admin-guide/module-signing.rst: the signature, 12 bytes of which the last 4 are its size, a line.
  constexpr std::string_view kMark = "~Module signature appended~\n";
  constexpr size_t kTrailer = 12;
  if (!module.ends_with(kMark) || module.size() < kMark.size() + kTrailer)
    return {std::move(module), {}};
  const size_t end = module.size() - kMark.size() - kTrailer;
  size_t size = 0;
  for (size_t i = kTrailer - 4; i < kTrailer; ++i) size = size << 8 | static_cast<unsigned char>(module[end + i]);
  if (size > end)
    return {std::move(module), {}};
  SignedModule out{{}, module.substr(end - size)};
  module.resize(end - size);
  out.module = std::move(module);
  return out;
}

std::string MakeCpio(const std::vector<CpioEntry>& entries) {
  std::string out;
  uint32_t inode = 1;
  for (const CpioEntry& entry : entries) AddEntry(entry, inode++, out);
  AddEntry({"TRAILER!!!", 0}, 0, out);
  return out;
}

std::string CachedInitramfs(const Dir& cache, const GuestKernel& kernel, const std::vector<std::string>& names) {
  const std::vector<std::string> files = ModuleFiles(kernel, names);
  const RelPath name = RelPath::Parse("initramfs-" + kernel.version + "-" + KeyOf(kernel, files));
  std::string path = cache.name() + "/" + name.str();
  if (cache.Exists(name))
    return path;
  StagedFile file(cache, 0444);
  WriteFull(file.fd(), AsBytes(MakeInitramfs(files)), path);
  file.Commit(name);
  return path;
}

}  // namespace gantry::runner::vm
