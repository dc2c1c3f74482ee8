#include "libimage/base/toml.h"

#include <string>
#include <utility>

#include "libimage/base/error.h"

namespace gantry {
namespace {

struct AssertionFailed {};

[[noreturn]] void FailAssertion() { throw AssertionFailed(); }

}  // namespace
}  // namespace gantry

// The library asserts what hostile text can make untrue ("[[#a]]"), and where assertions are off tells the compiler to
// rely on it.
#undef NDEBUG
#define TOML_ASSERT(expr) (static_cast<bool>(expr) ? static_cast<void>(0) : gantry::FailAssertion())
#define TOML_MAX_NESTED_VALUES 64
#include <toml++/toml.h>

namespace gantry {
namespace {

class Converter {
 public:
  explicit Converter(std::string_view what) : what_(what) {}

  json::Value Convert(const toml::node& node) {
    if (++count_ > json::kMaxValues)
      Fail(node, "too many values");
    if (const auto* table = node.as_table()) {
      json::Object out;
      for (const auto& [key, value] : *table) out.Append(std::string(key.str()), Convert(value));
      return out;
    }
    if (const auto* array = node.as_array()) {
      json::Array out;
      for (const toml::node& element : *array) out.push_back(Convert(element));
      return out;
    }
    if (const auto* text = node.as_string())
      return text->get();
    if (const auto* flag = node.as_boolean())
      return flag->get();
    if (const auto* number = node.as_integer())
      return number->get();
    Fail(node, "expected text, a whole number, true or false");
  }

 private:
  [[noreturn]] void Fail(const toml::node& node, const std::string& problem) const {
    throw Error(ErrorKind::kCorrupt,
                std::string(what_) + ": line " + std::to_string(node.source().begin.line) + ": " + problem);
  }

  std::string_view what_;
  size_t count_ = 0;
};

}  // namespace

json::Value ParseToml(std::string_view text, std::string_view what) {
  if (text.size() > kMaxTomlBytes)
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": over " + std::to_string(kMaxTomlBytes) + " bytes");
  try {
    return Converter(what).Convert(toml::parse(text));
  } catch (const AssertionFailed&) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": is no TOML");
  } catch (const toml::parse_error& error) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": line " + std::to_string(error.source().begin.line) + ": " +
                                         Quoted(error.description()));
  }
}

}  // namespace gantry
