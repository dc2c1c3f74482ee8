#include "runner/device_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/cgroup_files.h"

namespace gantry::runner {
namespace {

constexpr char kLicense[] = "Apache-2.0";
constexpr size_t kMaxPrograms = 64;  // the kernel's limit for one group
constexpr unsigned kAllAccess = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

// r1 the context, then scratch; r2 the type, r3 the access, r4 major, r5 minor.
bpf_insn Instruction(unsigned code, unsigned to, unsigned from, int offset, int32_t value) {
  bpf_insn out{};
  out.code = static_cast<uint8_t>(code);
  out.dst_reg = static_cast<uint8_t>(to & 0xF);
  out.src_reg = static_cast<uint8_t>(from & 0xF);
  out.off = static_cast<int16_t>(offset);
  out.imm = value;
  return out;
}

bpf_insn Load(unsigned to, size_t offset) {
  return Instruction(BPF_LDX | BPF_W | BPF_MEM, to, BPF_REG_1, static_cast<int>(offset), 0);
}

unsigned AccessOf(const DeviceRule& rule) {
  unsigned out = 0;
  if (rule.access.find('r') != std::string::npos)
    out |= BPF_DEVCG_ACC_READ;
  if (rule.access.find('w') != std::string::npos)
    out |= BPF_DEVCG_ACC_WRITE;
  if (rule.access.find('m') != std::string::npos)
    out |= BPF_DEVCG_ACC_MKNOD;
  return out;
}

std::vector<bpf_insn> CodeOf(const DeviceRule& rule) {
  // Each test that fails jumps behind the rule.
  std::vector<bpf_insn> out;
  const auto unless = [&](unsigned comparison, unsigned reg, int64_t value) {
    out.push_back(Instruction(BPF_JMP | comparison | BPF_K, reg, 0, 0, static_cast<int32_t>(value)));
  };
  if (rule.type != 'a')
    unless(BPF_JNE, BPF_REG_2, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (const unsigned access = AccessOf(rule); access != kAllAccess) {
    out.push_back(Instruction(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0));
    out.push_back(Instruction(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, static_cast<int32_t>(access)));
    if (rule.allow)
      out.push_back(Instruction(BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0));
    else
      unless(BPF_JEQ, BPF_REG_1, 0);
  }
  if (rule.type != 'a' && rule.major)
    unless(BPF_JNE, BPF_REG_4, *rule.major);
  if (rule.type != 'a' && rule.minor)
    unless(BPF_JNE, BPF_REG_5, *rule.minor);
  out.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule.allow ? 1 : 0));
  out.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  for (size_t i = 0; i + 2 < out.size(); ++i) {
    if (BPF_CLASS(out[i].code) == BPF_JMP)
      out[i].off = static_cast<int16_t>(out.size() - i - 1);
  }
  return out;
}

int Bpf(bpf_cmd command, bpf_attr& attributes) {
  return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

UniqueFd LoadProgram(const std::vector<bpf_insn>& program) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(program.data());
  attributes.insn_cnt = static_cast<uint32_t>(program.size());
  attributes.license = reinterpret_cast<uint64_t>(kLicense);
  UniqueFd out(Bpf(BPF_PROG_LOAD, attributes));
  if (!out)
    throw Error(ErrorKind::kUnsupported, "the kernel does not take device rules as a BPF program",
                "device rules on cgroup v2 need root and CONFIG_CGROUP_BPF");
  return out;
}

std::vector<uint32_t> Attached(int group) {
  std::array<uint32_t, kMaxPrograms> ids{};
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<uint32_t>(group);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
  attributes.query.prog_cnt = ids.size();
  if (Bpf(BPF_PROG_QUERY, attributes) < 0)
    return {};
  return {ids.begin(), ids.begin() + attributes.query.prog_cnt};
}

void Detach(int group, uint32_t id) {
  bpf_attr attributes{};
  attributes.prog_id = id;
  const UniqueFd program(Bpf(BPF_PROG_GET_FD_BY_ID, attributes));
  if (!program)
    return;
  attributes = {};
  attributes.target_fd = static_cast<uint32_t>(group);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  Bpf(BPF_PROG_DETACH, attributes);
}

}  // namespace

std::vector<bpf_insn> CompileDeviceFilter(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> out = {
      Load(BPF_REG_2, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Instruction(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xFFFF),
      Load(BPF_REG_3, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Instruction(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16),
      Load(BPF_REG_4, offsetof(bpf_cgroup_dev_ctx, major)),
      Load(BPF_REG_5, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  bool decided = false;
  for (auto rule = rules.rbegin(); rule != rules.rend() && !decided; ++rule) {
    const std::vector<bpf_insn> code = CodeOf(*rule);
    out.insert(out.end(), code.begin(), code.end());
    // The verifier refuses what cannot be reached.
    decided = rule->type == 'a' && AccessOf(*rule) == kAllAccess;
  }
  if (!decided) {
    out.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0));
    out.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  }
  return out;
}

void AttachDeviceFilter(const std::string& group, const std::vector<DeviceRule>& rules) {
  const UniqueFd program = LoadProgram(CompileDeviceFilter(rules));
  const UniqueFd directory = OpenControl(group, O_RDONLY | O_DIRECTORY);
  const std::vector<uint32_t> before = Attached(directory.get());
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(directory.get());
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (Bpf(BPF_PROG_ATTACH, attributes) < 0)
    ThrowErrno("attach the device rules to " + group);
  // Between the two both hold: never is there a moment without rules.
  for (const uint32_t id : before) Detach(directory.get(), id);
}

}  // namespace gantry::runner
