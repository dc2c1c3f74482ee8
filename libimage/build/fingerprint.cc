#include "libimage/build/fingerprint.h"

#include <algorithm>
#include <optional>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/stream.h"

namespace gantry::image {
namespace {

class Printer {
 public:
  Printer(const TreeStack& from, const CopyRules& rules) : from_(from), rules_(rules) {}

  void Visit(const TreeStack::Node& node) {
    const bool left_out = rules_.left_out && !node.path.empty() && rules_.left_out(node.path);
    if (left_out && !(node.is_directory() && rules_.exceptions))
      return;
    if (!left_out)
      Note(from_.Describe(node), node);
    if (!node.is_directory())
      return;
    for (const TreeStack::Node& child : from_.List(node)) Visit(child);
  }

  Fingerprint Finish(std::optional<int64_t> epoch, int64_t not_before) {
    const int64_t latest = epoch.value_or(std::max(newest_, not_before));
    for (json::Value& line : lines_) {
      const auto time = std::get_if<uint64_t>(&line.object()->Find("time")->data());
      if (time != nullptr && static_cast<int64_t>(*time) > latest)
        line.object()->Set("time", latest);
    }
    return {Digest::Of(json::PrintCanonical(lines_)), newest_};
  }

 private:
  void Note(const Entry& entry, const TreeStack::Node& node) {
    newest_ = std::max(newest_, entry.mtime.seconds);
    json::Object line{{"path", Quoted(entry.name)},
                      {"type", static_cast<int>(entry.type)},
                      {"mode", static_cast<uint64_t>(rules_.mode.value_or(entry.mode))},
                      {"uid", rules_.owner ? uint64_t{rules_.owner->first} : entry.uid},
                      {"gid", rules_.owner ? uint64_t{rules_.owner->second} : entry.gid},
                      {"time", std::max<int64_t>(entry.mtime.seconds, 0)}};
    if (entry.type == EntryType::kFile)
      line.Set("content", ContentOf(node));
    line.Set("link", Digest::Of(entry.link).hex());
    line.Set("device", std::to_string(entry.device_major) + ":" + std::to_string(entry.device_minor));
    if (rules_.xattrs) {
      std::string xattrs;
      for (const auto& [name, value] : entry.xattrs) xattrs += Digest::Of(name).hex() + Digest::Of(value).hex();
      line.Set("xattrs", xattrs);
    }
    lines_.emplace_back(std::move(line));
  }

  std::string ContentOf(const TreeStack::Node& node) const {
    Hasher hasher;
    const auto source = FdSource(from_.OpenFile(node), Quoted(node.path));
    for (Block block = source->Next(); !block.empty(); block = source->Next()) hasher.Update(block.bytes());
    return hasher.Finish().hex();
  }

  const TreeStack& from_;
  const CopyRules& rules_;
  json::Array lines_;
  int64_t newest_ = 0;
};

}  // namespace

Fingerprint FingerprintOf(const TreeStack& from, const TreeStack::Node& node, const CopyRules& rules,
                          std::optional<int64_t> epoch, int64_t not_before) {
  Printer printer(from, rules);
  printer.Visit(node);
  return printer.Finish(epoch, not_before);
}

}  // namespace gantry::image
