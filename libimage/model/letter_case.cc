#include "libimage/model/letter_case.h"

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxMembers = 10'000;
constexpr std::string_view kLongS = "\xc5\xbf";       // U+017F
constexpr std::string_view kKelvin = "\xe2\x84\xaa";  // U+212A

}  // namespace

std::string FoldedName(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  while (!name.empty()) {
    size_t taken = 1;
    if (name.starts_with(kLongS)) {
      out += 's';
      taken = kLongS.size();
    } else if (name.starts_with(kKelvin)) {
      out += 'k';
      taken = kKelvin.size();
    } else {
      const char c = name.front();
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    name.remove_prefix(taken);
  }
  return out;
}

FoldedMembers::FoldedMembers(const json::Cursor& object) {
  for (const auto& [name, member] : object.Members(kMaxMembers)) {
    if (!members_.emplace(FoldedName(name), member).second)
      member.Fail("the second member of that name but for letter case, so tools disagree on what it means");
  }
}

std::optional<json::Cursor> FoldedMembers::Find(std::string_view name) const {
  const auto found = members_.find(FoldedName(name));
  if (found == members_.end() || found->second.value().is_null())
    return std::nullopt;
  return found->second;
}

std::string FoldedMembers::Text(std::string_view name, size_t max_bytes) const {
  const std::optional<json::Cursor> member = Find(name);
  if (!member)
    return {};
  const std::string& text = member->String(max_bytes);
  if (text.find('\0') != std::string::npos)
    member->Fail("holds a NUL byte");
  return text;
}

}  // namespace gantry::image
