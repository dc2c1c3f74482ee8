#include "libimage/base/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <set>
#include <sstream>
#include <string>

#include "libimage/base/error.h"

namespace gantry {
namespace {

class Converter {
 public:
  explicit Converter(std::string_view what) : what_(what) {}

  json::Value Convert(const YAML::Node& node, size_t depth) {
    if (++count_ > json::kMaxValues)
      Fail(node.Mark(), "too many values");
    if (depth > json::kMaxDepth)
      Fail(node.Mark(), "nested too deeply");
    if (node.IsMap())
      return ConvertMap(node, depth);
    if (node.IsScalar())
      return node.Scalar();
    if (!node.IsSequence())
      return nullptr;
    json::Array out;
    for (const YAML::Node& element : node) out.push_back(Convert(element, depth + 1));
    return out;
  }

  [[noreturn]] void Fail(const YAML::Mark& mark, const std::string& problem) const {
    throw Error(ErrorKind::kCorrupt, std::string(what_) + ": line " + std::to_string(mark.line + 1) + ": " + problem);
  }

 private:
  // yaml-cpp itself keeps both of two equal keys.
  json::Value ConvertMap(const YAML::Node& node, size_t depth) {
    json::Object out;
    std::set<std::string> seen;
    for (const auto& member : node) {
      if (!member.first.IsScalar())
        Fail(node.Mark(), "expected plain keys");
      if (!seen.insert(member.first.Scalar()).second)
        Fail(member.first.Mark(), Quoted(member.first.Scalar()) + " is there twice");
      out.Append(member.first.Scalar(), Convert(member.second, depth + 1));
    }
    return out;
  }

  std::string_view what_;
  size_t count_ = 0;
};

// Where documents begin.
class Beginnings : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { last = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  YAML::Mark last;
};

}  // namespace

json::Value ParseYaml(std::string_view text, std::string_view what) {
  if (text.size() > kMaxYamlBytes)
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": over " + std::to_string(kMaxYamlBytes) + " bytes");
  try {
    Converter converter(what);
    // Not LoadAll: of some texts yaml-cpp finds documents without end ("&a ,").
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Beginnings documents;
    if (!parser.HandleNextDocument(documents))
      return nullptr;
    if (parser.HandleNextDocument(documents))
      converter.Fail(documents.last, "a second document");
    return converter.Convert(YAML::Load(std::string(text)), 0);
  } catch (const YAML::Exception& error) {
    Converter(what).Fail(error.mark, Quoted(error.msg));
  }
}

}  // namespace gantry
