#include "libimage/layer/difference.h"

#include <algorithm>
#include <map>

#include "libimage/base/json.h"
#include "libimage/model/execution.h"

namespace gantry::image {
namespace {

using Texts = std::map<std::string, std::string>;

class ConfigComparison {
 public:
  void Member(std::string field, const json::Value& before, const json::Value& after) {
    if (before != after)
      out_.push_back({.field = std::move(field), .name = {}, .before = before, .after = after});
  }

  void Named(const std::string& field, const Texts& before, const Texts& after) {
    for (const auto& [name, value] : before) {
      const auto other = after.find(name);
      if (other == after.end())
        out_.push_back({.field = field, .name = name, .before = value, .after = {}});
      else if (other->second != value)
        out_.push_back({.field = field, .name = name, .before = value, .after = other->second});
    }
    for (const auto& [name, value] : after) {
      if (!before.contains(name))
        out_.push_back({.field = field, .name = name, .before = {}, .after = value});
    }
  }

  size_t size() const { return out_.size(); }
  std::vector<ConfigDifference> Take() { return std::move(out_); }

 private:
  std::vector<ConfigDifference> out_;
};

Texts Variables(const std::vector<std::string>& env) {
  Texts out;
  for (const std::string& entry : env) {
    const size_t equals = entry.find('=');
    out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}

// Programs see the order of variables: where they differ in nothing else, all are told.
void CompareEnv(const std::vector<std::string>& before, const std::vector<std::string>& after, ConfigComparison& out) {
  const size_t found = out.size();
  out.Named("env", Variables(before), Variables(after));
  if (out.size() == found)
    out.Member("env", before, after);
}

std::vector<std::string_view> Ways(const ListedPath& a, const ListedPath& b) {
  std::vector<std::string_view> out;
  const auto say = [&](bool differs, std::string_view way) {
    if (differs)
      out.push_back(way);
  };
  say(a.type != b.type, "type");
  say(a.mode != b.mode, "mode");
  say(a.uid != b.uid || a.gid != b.gid, "owner");
  if (a.type == b.type) {
    say(a.size != b.size, "size");
    say(!std::ranges::equal(a.content, b.content), "content");
    say(a.target != b.target, "target");
    say(a.device_major != b.device_major || a.device_minor != b.device_minor, "device");
  }
  say(a.first != b.first, "link");
  say(a.mtime != b.mtime, "time");
  return out;
}

// Both are sorted by name.
std::vector<std::string_view> DifferingXattrs(const Xattrs& a, const Xattrs& b) {
  std::vector<std::string_view> out;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    const bool first = j == b.end() || (i != a.end() && i->first <= j->first);
    const bool second = i == a.end() || (j != b.end() && j->first <= i->first);
    if (!first || !second || i->second != j->second)
      out.push_back(first ? i->first : j->first);
    i += first ? 1 : 0;
    j += second ? 1 : 0;
  }
  return out;
}

}  // namespace

std::vector<ConfigDifference> CompareConfigs(const ImageConfig& before, const ImageConfig& after) {
  const Execution a = Execution::Of(before), b = Execution::Of(after);
  ConfigComparison out;
  out.Member("platform", before.platform.Canonical().ToString(), after.platform.Canonical().ToString());
  out.Member("args", a.args, b.args);
  CompareEnv(a.env, b.env, out);
  out.Member("cwd", a.cwd, b.cwd);
  out.Member("user", a.user, b.user);
  out.Member("volumes", a.volumes, b.volumes);
  out.Member("ports", a.ports, b.ports);
  out.Member("stop", a.stop_signal, b.stop_signal);
  out.Named("label", before.labels, after.labels);
  return out.Take();
}

void CompareTrees(const Listing& before, const Listing& after, const std::function<void(const PathDifference&)>& each) {
  size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    const bool more_before = i < before.size(), more_after = j < after.size();
    const ListedPath a = more_before ? before[i] : ListedPath(), b = more_after ? after[j] : ListedPath();
    if (!more_after || (more_before && a.path < b.path)) {
      each({a.path, &a, nullptr});
      ++i;
    } else if (!more_before || b.path < a.path) {
      each({b.path, nullptr, &b});
      ++j;
    } else {
      const PathDifference both{a.path, &a, &b, Ways(a, b), DifferingXattrs(*a.xattrs, *b.xattrs)};
      if (!both.ways.empty() || !both.xattrs.empty())
        each(both);
      ++i, ++j;
    }
  }
}

}  // namespace gantry::image
