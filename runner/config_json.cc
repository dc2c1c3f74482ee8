#include "runner/config_json.h"

#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "libimage/base/base64.h"
#include "runner/filter_compiler.h"
#include "runner/seccomp_file.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxItems = 4096;
constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kMaxId = std::numeric_limits<uint32_t>::max();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// Members that are as the default says are left out.
template <typename Value>
void Put(json::Object& out, const char* name, const Value& value) {
  if (value != Value{})
    out.Append(name, json::Value(value));
}

template <typename Number>
void PutNumber(json::Object& out, const char* name, const std::optional<Number>& value) {
  if (value && *value < 0)
    out.Append(name, json::Value(static_cast<int64_t>(*value)));
  else if (value)
    out.Append(name, json::Value(static_cast<uint64_t>(*value)));
}

bool Flag(const json::Cursor& at, const char* name) {
  const auto found = at.Find(name);
  return found && found->Bool();
}

std::string Text(const json::Cursor& at, const char* name) {
  const auto found = at.Find(name);
  return found ? found->String() : std::string();
}

std::vector<std::string> Texts(const json::Cursor& at, const char* name) {
  const auto found = at.Find(name);
  return found ? found->Strings(kMaxSpecArguments) : std::vector<std::string>();
}

template <typename Number>
std::optional<Number> Unsigned(const json::Cursor& at, const char* name, uint64_t max = kAny) {
  const auto found = at.Find(name);
  return found ? std::optional(static_cast<Number>(found->Unsigned(max))) : std::nullopt;
}

std::optional<int64_t> Integer(const json::Cursor& at, const char* name) {
  const auto found = at.Find(name);
  return found ? std::optional(found->Integer(-1, kMost)) : std::nullopt;
}

template <typename Item, typename Parse>
std::vector<Item> List(const json::Cursor& at, const char* name, Parse parse) {
  std::vector<Item> out;
  if (const auto found = at.Find(name)) {
    for (const json::Cursor& one : found->Elements(kMaxItems)) out.push_back(parse(one));
  }
  return out;
}

template <typename Items, typename Print>
void PutList(json::Object& out, const char* name, const Items& items, Print print) {
  json::Array list;
  for (const auto& item : items) list.emplace_back(print(item));
  if (!list.empty())
    out.Append(name, std::move(list));
}

constexpr std::string_view kVolumeKinds[] = {"host", "empty", "tmpfs"};
constexpr std::string_view kRateKinds[] = {"readBytes", "writeBytes", "readOperations", "writeOperations"};
constexpr std::string_view kNetworks[] = {"none", "host", "private", "named"};
constexpr std::string_view kFilterKinds[] = {"default", "none", "profile"};

template <typename Kind, size_t kCount>
Kind KindOf(const json::Cursor& at, const std::string_view (&names)[kCount]) {
  const std::string& text = at.String();
  for (size_t i = 0; i < kCount; ++i) {
    if (names[i] == text)
      return static_cast<Kind>(i);
  }
  at.Fail("unknown kind " + Quoted(text));
}

json::Object PrintVolume(const Volume& volume) {
  json::Object out{{"kind", kVolumeKinds[static_cast<size_t>(volume.kind)]}, {"target", volume.target}};
  Put(out, "source", volume.source);
  Put(out, "readOnly", volume.read_only);
  Put(out, "flat", !volume.recursive);
  PutNumber(out, "uid", volume.uid);
  PutNumber(out, "gid", volume.gid);
  PutNumber(out, "mode", volume.mode);
  PutNumber(out, "size", volume.size);
  Put(out, "executable", volume.executable);
  return out;
}

Volume ParseVolume(const json::Cursor& at) {
  Volume out;
  out.kind = KindOf<Volume::Kind>(at.At("kind"), kVolumeKinds);
  out.source = Text(at, "source");
  out.target = at.At("target").String();
  out.read_only = Flag(at, "readOnly");
  out.recursive = !Flag(at, "flat");
  out.uid = Unsigned<uint32_t>(at, "uid", kMaxId);
  out.gid = Unsigned<uint32_t>(at, "gid", kMaxId);
  out.mode = Unsigned<uint32_t>(at, "mode", 07777);
  out.size = Unsigned<uint64_t>(at, "size");
  out.executable = Flag(at, "executable");
  return out;
}

json::Object PrintSecret(const Secret& secret) {
  return {{"name", secret.name},
          {"source", secret.source},
          {"uid", uint64_t{secret.uid}},
          {"gid", uint64_t{secret.gid}},
          {"mode", uint64_t{secret.mode}}};
}

Secret ParseSecret(const json::Cursor& at) {
  return {at.At("name").String(), at.At("source").String(), static_cast<uint32_t>(at.At("uid").Unsigned(kMaxId)),
          static_cast<uint32_t>(at.At("gid").Unsigned(kMaxId)), static_cast<uint32_t>(at.At("mode").Unsigned(07777))};
}

json::Object PrintLimits(const Limits& limits) {
  json::Object out;
  PutNumber(out, "memory", limits.memory);
  PutNumber(out, "memorySwap", limits.memory_swap);
  PutNumber(out, "memoryReservation", limits.memory_reservation);
  PutNumber(out, "cpuMicroseconds", limits.cpu_microseconds);
  PutNumber(out, "cpuShares", limits.cpu_shares);
  PutNumber(out, "ioWeight", limits.io_weight);
  PutNumber(out, "pids", limits.pids);
  Put(out, "cpus", limits.cpus);
  Put(out, "memoryNodes", limits.memory_nodes);
  PutList(out, "rates", limits.rates, [](const Limits::Rate& rate) {
    return json::Object{
        {"kind", kRateKinds[static_cast<size_t>(rate.kind)]}, {"device", rate.device}, {"perSecond", rate.per_second}};
  });
  return out;
}

Limits ParseLimits(const json::Cursor& at) {
  Limits out;
  out.memory = Integer(at, "memory");
  out.memory_swap = Integer(at, "memorySwap");
  out.memory_reservation = Integer(at, "memoryReservation");
  out.cpu_microseconds = Unsigned<uint64_t>(at, "cpuMicroseconds");
  out.cpu_shares = Unsigned<uint64_t>(at, "cpuShares");
  out.io_weight = Unsigned<uint64_t>(at, "ioWeight");
  out.pids = Integer(at, "pids");
  out.cpus = Text(at, "cpus");
  out.memory_nodes = Text(at, "memoryNodes");
  out.rates = List<Limits::Rate>(at, "rates", [](const json::Cursor& one) {
    return Limits::Rate{KindOf<Limits::Rate::Kind>(one.At("kind"), kRateKinds), one.At("device").String(),
                        one.At("perSecond").Unsigned(kAny)};
  });
  return out;
}

json::Object PrintHealth(const image::HealthCheck& health) {
  return {{"test", health.test},
          {"interval", health.interval_ns},
          {"timeout", health.timeout_ns},
          {"startPeriod", health.start_period_ns},
          {"retries", health.retries}};
}

image::HealthCheck ParseHealth(const json::Cursor& at) {
  return {at.At("test").Strings(kMaxItems), at.At("interval").Unsigned(kAny), at.At("timeout").Unsigned(kAny),
          at.At("startPeriod").Unsigned(kAny), at.At("retries").Unsigned(kAny)};
}

std::vector<EventHandler> ParseHandlers(const json::Cursor& at, const char* name) {
  return List<EventHandler>(at, name, [](const json::Cursor& one) {
    EventHandler out{one.Strings(kMaxSpecArguments)};
    if (out.args.empty())
      one.Fail("expected something to execute");
    return out;
  });
}

std::string_view ProgramBytes(const std::vector<sock_filter>& program) {
  return {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)};
}

// Never none: that would let every call pass. Nor more than the kernel takes.
std::vector<sock_filter> ParseProgram(const json::Cursor& at) {
  const auto bytes = DecodeBase64(at.String());
  if (!bytes || bytes->empty() || bytes->size() % sizeof(sock_filter) != 0 ||
      bytes->size() > BPF_MAXINSNS * sizeof(sock_filter))
    at.Fail("expected the steps of a filter in base64");
  std::vector<sock_filter> out(bytes->size() / sizeof(sock_filter));
  std::memcpy(out.data(), bytes->data(), bytes->size());
  return out;
}

// Pods have outlived a version that recorded the profile's text instead.
std::vector<sock_filter> ParseFilter(const json::Cursor& at, uint64_t capabilities) {
  const auto profile = at.Find("profile");
  if (!profile || at.Find("program"))
    return ParseProgram(at.At("program"));
  return CompileFilter(ReadSeccompProfile(profile->String(), "the profile of the pod", capabilities));
}

void PrintConfinement(const RunConfig& config, json::Object& out) {
  out.Append("capabilities", config.capabilities);
  PutList(out, "secrets", config.secrets, PrintSecret);
  PutList(out, "devices", config.devices, [](const DeviceNode& device) {
    return json::Object{{"source", device.source}, {"target", device.target}, {"access", device.access}};
  });
  Put(out, "limits", PrintLimits(config.limits));
  PutList(out, "ulimits", config.ulimits, [](const SpecLimit& limit) {
    return json::Object{{"resource", limit.resource}, {"soft", limit.soft}, {"hard", limit.hard}};
  });
  PutList(out, "groups", config.groups, [](uint32_t group) { return uint64_t{group}; });
  PutNumber(out, "oomScoreAdj", config.oom_score_adj);
  Put(out, "newPrivileges", config.new_privileges);
  if (config.filter.kind != Filter::Kind::kDefault)
    out.Append("filter", kFilterKinds[static_cast<size_t>(config.filter.kind)]);
  if (config.filter.kind == Filter::Kind::kProfile)
    out.Append("program", EncodeBase64(ProgramBytes(config.filter.program)));
  Put(out, "apparmor", config.apparmor);
  Put(out, "selinux", config.selinux);
}

void ParseConfinement(const json::Cursor& at, RunConfig& out) {
  out.capabilities = at.At("capabilities").Unsigned(kAny);
  out.secrets = List<Secret>(at, "secrets", ParseSecret);
  out.devices = List<DeviceNode>(at, "devices", [](const json::Cursor& one) {
    return DeviceNode{one.At("source").String(), one.At("target").String(), one.At("access").String()};
  });
  if (const auto limits = at.Find("limits"))
    out.limits = ParseLimits(*limits);
  out.ulimits = List<SpecLimit>(at, "ulimits", [](const json::Cursor& one) {
    return SpecLimit{static_cast<int>(one.At("resource").Integer(0, 64)), one.At("soft").Unsigned(kAny),
                     one.At("hard").Unsigned(kAny)};
  });
  out.groups = List<uint32_t>(at, "groups",
                              [](const json::Cursor& one) { return static_cast<uint32_t>(one.Unsigned(kMaxSpecId)); });
  if (const auto score = at.Find("oomScoreAdj"))
    out.oom_score_adj = static_cast<int>(score->Integer(-1000, 1000));
  out.new_privileges = Flag(at, "newPrivileges");
  if (const auto filter = at.Find("filter"))
    out.filter.kind = KindOf<Filter::Kind>(*filter, kFilterKinds);
  if (out.filter.kind == Filter::Kind::kProfile)
    out.filter.program = ParseFilter(at, out.capabilities);
  out.apparmor = Text(at, "apparmor");
  out.selinux = Text(at, "selinux");
}

json::Object PrintPort(const PublishedPort& port) {
  return {{"hostAddress", uint64_t{port.host_address}},
          {"hostPort", uint64_t{port.host_port}},
          {"port", uint64_t{port.port}},
          {"udp", port.udp}};
}

PublishedPort ParsePort(const json::Cursor& at) {
  return {static_cast<uint32_t>(at.At("hostAddress").Unsigned(kMaxId)),
          static_cast<uint16_t>(at.At("hostPort").Unsigned(0xFFFF)),
          static_cast<uint16_t>(at.At("port").Unsigned(0xFFFF)), at.At("udp").Bool()};
}

json::Object PrintNetwork(const NetworkRequest& net) {
  json::Object out;
  PutList(out, "ports", net.ports, PrintPort);
  PutList(out, "hosts", net.hosts, [](const HostEntry& host) {
    return json::Object{{"name", host.name}, {"address", host.address}};
  });
  Put(out, "dns", net.resolver.servers);
  Put(out, "dnsSearch", net.resolver.searches);
  Put(out, "dnsOptions", net.resolver.options);
  Put(out, "names", net.names);
  Put(out, "configurations", net.configurations);
  if (net.plugin_seconds != NetworkRequest().plugin_seconds)
    out.Append("pluginSeconds", uint64_t{net.plugin_seconds});
  return out;
}

NetworkRequest ParseNetwork(const json::Cursor& at) {
  NetworkRequest out;
  out.ports = List<PublishedPort>(at, "ports", ParsePort);
  out.hosts = List<HostEntry>(at, "hosts", [](const json::Cursor& one) {
    return HostEntry{one.At("name").String(), one.At("address").String()};
  });
  out.resolver = {Texts(at, "dns"), Texts(at, "dnsSearch"), Texts(at, "dnsOptions")};
  out.names = Texts(at, "names");
  out.configurations = Text(at, "configurations");
  if (const auto seconds = at.Find("pluginSeconds"))
    out.plugin_seconds = static_cast<unsigned>(seconds->Unsigned(kMaxPluginSeconds));
  return out;
}

}  // namespace

json::Object PrintConfig(const RunConfig& config) {
  json::Object out{{"args", config.args}, {"env", config.env}, {"workingDir", config.working_dir}};
  Put(out, "user", config.user);
  Put(out, "hostname", config.hostname);
  if (config.network != Network::kNone)
    out.Append("network", kNetworks[static_cast<size_t>(config.network)]);
  if (json::Object net = PrintNetwork(config.net); !net.empty())
    out.Append("net", std::move(net));
  Put(out, "interactive", config.interactive);
  Put(out, "terminal", config.terminal);
  Put(out, "readOnly", config.read_only_rootfs);
  PutList(out, "volumes", config.volumes, PrintVolume);
  PrintConfinement(config, out);
  out.Append("stopSignal", config.stop_signal);
  out.Append("stopSeconds", uint64_t{config.stop_seconds});
  if (config.health)
    out.Append("health", PrintHealth(*config.health));
  const auto args = [](const EventHandler& handler) { return json::Value(handler.args); };
  PutList(out, "preStart", config.pre_start, args);
  PutList(out, "postStop", config.post_stop, args);
  return out;
}

RunConfig ParseConfig(const json::Cursor& at) {
  RunConfig out;
  out.args = at.At("args").Strings(kMaxSpecArguments);
  if (out.args.empty())
    at.At("args").Fail("expected something to execute");
  out.env = Texts(at, "env");
  out.working_dir = at.At("workingDir").String();
  out.user = Text(at, "user");
  out.hostname = Text(at, "hostname");
  if (const auto network = at.Find("network"))
    out.network = KindOf<Network>(*network, kNetworks);
  if (const auto net = at.Find("net"))
    out.net = ParseNetwork(*net);
  out.interactive = Flag(at, "interactive");
  out.terminal = Flag(at, "terminal");
  out.read_only_rootfs = Flag(at, "readOnly");
  out.volumes = List<Volume>(at, "volumes", ParseVolume);
  ParseConfinement(at, out);
  out.stop_signal = static_cast<int>(at.At("stopSignal").Integer(1, 64));
  out.stop_seconds = static_cast<unsigned>(at.At("stopSeconds").Unsigned(kMaxId));
  if (const auto health = at.Find("health"))
    out.health = ParseHealth(*health);
  out.pre_start = ParseHandlers(at, "preStart");
  out.post_stop = ParseHandlers(at, "postStop");
  return out;
}

}  // namespace gantry::runner
