#include "runner/net/pod_network.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <limits>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "runner/container_state.h"
#include "runner/net/cni.h"
#include "runner/net/pasta.h"
#include "runner/net/private_network.h"
#include "runner/net/reserved_port.h"

namespace gantry::runner {
namespace {

constexpr const char* kFile = "network";
constexpr const char* kNamespace = "netns";  // held by a mount, for plugins
constexpr size_t kMaxFileBytes = 64 * 1024 * 1024;
constexpr std::string_view kBridge = "private";
constexpr std::string_view kPasta = "pasta";
constexpr std::string_view kNamed = "named";

std::string NamespaceOf(pid_t container) { return "/proc/" + std::to_string(container) + "/ns/net"; }

// It is read by nobody but us, and only after we are dead: no disk is waited for.
void Save(const Dir& pod, json::Object what) {
  const RelPath hidden = RelPath::Parse(std::string(".") + kFile);
  const UniqueFd file = pod.OpenBeneath(hidden, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  WriteFull(file.get(), AsBytes(json::Print(std::move(what)) + "\n"), "the network of the pod " + pod.name());
  pod.Rename(hidden, RelPath::Parse(kFile));
}

json::Object PrintNamed(const std::vector<CniAttachment>& attachments) {
  json::Array networks;
  for (const CniAttachment& attachment : attachments) networks.emplace_back(attachment.Print());
  return {{"kind", kNamed}, {"networks", std::move(networks)}};
}

std::vector<CniAttachment> PlanNamed(const NetworkRequest& request) {
  std::vector<CniAttachment> out;
  bool published = false;
  for (CniNetwork& network : FindCniNetworks(request)) {
    bool by_this = false;
    out.push_back(PlanCni(std::move(network), "eth" + std::to_string(out.size()), request.ports, by_this));
    published = published || by_this;
  }
  if (!published)
    throw Error(ErrorKind::kUnsupported, "no plugin of these CNI networks can publish ports",
                "the configuration needs one with the capability portMappings, like portmap");
  return out;
}

void Add(const AttachedNetwork& one, AttachedNetwork& all) {
  all.addresses.insert(all.addresses.end(), one.addresses.begin(), one.addresses.end());
  if (all.gateway.empty())
    all.gateway = one.gateway;
  all.ipv6 = all.ipv6 || one.ipv6;
  if (all.resolver.empty())
    all.resolver = one.resolver;
}

void KillPasta(const json::Cursor& at) {
  const auto pid = at.Find("pid");
  if (!pid)
    return;
  const auto number = static_cast<pid_t>(pid->Integer(1, std::numeric_limits<pid_t>::max()));
  const uint64_t start = at.At("startTime").Unsigned(std::numeric_limits<uint64_t>::max());
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, number, 0)));
  if (pidfd && StartTimeOf(number) == start)
    syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

// The file that holds a network namespace, if it does.
std::optional<std::string> HeldNamespace(const Dir& pods, const std::string& uuid) {
  std::string path = pods.name() + "/" + uuid + "/" + kNamespace;
  struct statfs status {};
  const bool there = statfs(path.c_str(), &status) == 0 && status.f_type == NSFS_MAGIC;
  return there ? std::optional(std::move(path)) : std::nullopt;
}

void LetGo(const std::string& held) {
  if (umount2(held.c_str(), MNT_DETACH) < 0)
    ThrowErrno("let go of the network namespace " + held);
}

void ReleaseNamed(const Dir& pods, const std::string& uuid, const json::Cursor& at) {
  const std::optional<std::string> held = HeldNamespace(pods, uuid);
  std::optional<Error> failed;
  const auto networks = at.At("networks").Elements(kMaxCniNetworks);
  for (auto one = networks.rbegin(); one != networks.rend(); ++one) {
    try {
      CniDel(CniAttachment::Parse(*one), uuid, held.value_or(""));
    } catch (const Error& error) {
      failed = error;
    }
  }
  if (failed)
    throw *std::move(failed);
  if (held)
    LetGo(*held);
  pods.RemoveFile(RelPath::Parse(uuid + "/" + kNamespace));
}

}  // namespace

bool IsAttached(Network network) { return network == Network::kPrivate || network == Network::kNamed; }

void PodNetwork::AttachToBridge(const NetworkRequest& request, const Dir& pod, const std::string& uuid,
                                pid_t container) {
  const UniqueFd netns = OpenFile(NamespaceOf(container), O_RDONLY);
  Save(pod, {{"kind", kBridge}});
  attached_ = AttachPrivate(pod.name(), uuid, netns.get(), request, reserved_);
}

void PodNetwork::AttachByPasta(const NetworkRequest& request, const Dir& pod, pid_t container) {
  pasta_.emplace(StartPasta(container, request));
  Save(pod, {{"kind", kPasta}, {"pid", pasta_->pid()}, {"startTime", StartTimeOf(pasta_->pid()).value_or(0)}});
  attached_ = LookAtNetwork(container);
}

void PodNetwork::AttachNamed(const NetworkRequest& request, const Dir& pod, const std::string& uuid, pid_t container) {
  std::vector<CniAttachment> planned = PlanNamed(request);
  // Plugins do not look whether somebody else has a port.
  for (const PublishedPort& port : request.ports) reserved_.push_back(ReservePort(port));
  std::vector<CniAttachment> begun;
  Save(pod, PrintNamed(begun));
  const std::string netns = pod.name() + "/" + kNamespace;
  pod.OpenBeneath(RelPath::Parse(kNamespace), O_WRONLY | O_CREAT, 0600);
  if (mount(NamespaceOf(container).c_str(), netns.c_str(), nullptr, MS_BIND, nullptr) < 0)
    ThrowErrno("hold the network namespace of the pod");
  for (CniAttachment& attachment : planned) {
    begun.push_back(std::move(attachment));
    Save(pod, PrintNamed(begun));
    CniAdd(begun.back(), uuid, netns);
    Save(pod, PrintNamed(begun));
    Add(ParseCniResult(*begun.back().result), attached_);
  }
}

PodNetwork PodNetwork::Attach(const RunConfig& config, const Dir& pod, const std::string& uuid, pid_t container) {
  PodNetwork out;
  if (config.network == Network::kNamed)
    out.AttachNamed(config.net, pod, uuid, container);
  else if (geteuid() == 0)
    out.AttachToBridge(config.net, pod, uuid, container);
  else
    out.AttachByPasta(config.net, pod, container);
  return out;
}

void ReleaseNetwork(const Dir& pods, const std::string& uuid) {
  const RelPath name = RelPath::Parse(uuid + "/" + kFile);
  const auto file = pods.TryOpenBeneath(name, O_RDONLY);
  if (!file)
    return;
  const json::Value value = json::Parse(ReadAll(file->get(), kMaxFileBytes, kFile), kFile);
  const json::Cursor at(value, kFile);
  const std::string& kind = at.At("kind").String();
  if (kind == kBridge)
    DetachPrivate(pods.name() + "/" + uuid);
  else if (kind == kPasta)
    KillPasta(at);
  else if (kind == kNamed)
    ReleaseNamed(pods, uuid, at);
  pods.RemoveFile(name);
}

void AbandonNetwork(const Dir& pods, const std::string& uuid) {
  if (const auto held = HeldNamespace(pods, uuid))
    LetGo(*held);
}

}  // namespace gantry::runner
