#include "runner/init_params.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "libimage/base/error.h"
#include "runner/protocol.h"
#include "runner/seccomp.h"

namespace gantry::runner {
namespace {

bool HasEnv(const std::vector<std::string>& env, std::string_view prefix) {
  return std::ranges::any_of(env, [&](const std::string& entry) { return entry.starts_with(prefix); });
}

// Appends parts behind the head, aligned, and tells their offsets.
class Packer {
 public:
  Packer() : bytes_(sizeof(InitParams), '\0') {}

  uint64_t Add(const void* data, size_t size) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8, '\0');
    const uint64_t offset = bytes_.size();
    bytes_.append(static_cast<const char*>(data), size);
    return offset;
  }
  uint64_t Add(const std::vector<std::string>& texts) {
    std::string joined;
    for (const std::string& text : texts) joined.append(text).push_back('\0');
    return Add(joined.data(), joined.size());
  }
  std::string Finish(const InitParams& head) {
    std::memcpy(bytes_.data(), &head, sizeof head);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

}  // namespace

std::vector<std::string> ExecutableCandidates(const std::string& program, const std::vector<std::string>& env) {
  if (program.find('/') != std::string::npos)
    return {program};
  constexpr std::string_view kPath = "PATH=";
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& entry : env) {
    if (entry.starts_with(kPath))
      path = std::string_view(entry).substr(kPath.size());
  }
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    // An empty element is the working directory by tradition; nobody means that.
    if (end > begin)
      out.push_back(std::string(path.substr(begin, end - begin)) + "/" + program);
    begin = end + 1;
  }
  if (out.empty())
    out.push_back("/" + program);
  return out;
}

UniqueFd MakeInitParams(const RunConfig& config, const Credentials& who, const std::string& hostname,
                        bool keep_groups) {
  std::vector<std::string> env = config.env;
  if (!HasEnv(env, "HOME="))
    env.push_back("HOME=" + who.home);
  if (!HasEnv(env, "HOSTNAME="))
    env.push_back("HOSTNAME=" + hostname);
  const std::vector<std::string> candidates = ExecutableCandidates(config.args.front(), env);
  const auto filter = DefaultFilter();
  const std::vector<uint32_t> groups(who.groups.begin(), who.groups.end());

  Packer packer;
  InitParams head;
  head.uid = who.uid;
  head.gid = who.gid;
  head.terminal = config.terminal ? 1 : 0;
  head.keep_groups = keep_groups ? 1 : 0;
  head.capabilities = config.capabilities;
  head.working_dir = packer.Add({config.working_dir});
  head.groups = packer.Add(groups.data(), groups.size() * sizeof(uint32_t));
  head.group_count = groups.size();
  head.filter = packer.Add(filter.data(), filter.size_bytes());
  head.filter_count = filter.size();
  head.arguments = packer.Add(config.args);
  head.argument_count = config.args.size();
  head.environment = packer.Add(env);
  head.environment_count = env.size();
  head.candidates = packer.Add(candidates);
  head.candidate_count = candidates.size();
  const std::string bytes = packer.Finish(head);

  UniqueFd fd(memfd_create("gantry-params", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd)
    ThrowErrno("make a memory file");
  WriteFull(fd.get(), AsBytes(bytes), "gantry-params");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    ThrowErrno("seal a memory file");
  return fd;
}

}  // namespace gantry::runner
