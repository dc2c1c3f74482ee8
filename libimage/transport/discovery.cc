#include "libimage/transport/discovery.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/percent.h"
#include "libimage/transport/url.h"

namespace gantry::image {
namespace {

constexpr std::string_view kSpaces = " \t\n\f\r";
constexpr std::string_view kPage = "a page for discovery";

// What can stand in a head (HTML, 13.2.6.4.4); all else begins the body.
constexpr std::array<std::string_view, 10> kOfHead = {"html",   "head",  "meta",  "link",     "base",
                                                      "script", "style", "title", "noscript", "basefont"};
// Whose content is no markup, or none that counts.
constexpr std::array<std::string_view, 4> kWithText = {"script", "style", "title", "noscript"};

template <size_t N>
bool IsOneOf(const std::array<std::string_view, N>& all, std::string_view name) {
  return std::ranges::find(all, name) != all.end();
}

std::string WithoutEntities(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, char>, 5> kEntities = {
      {{"&amp;", '&'}, {"&quot;", '"'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&#39;", '\''}}};
  std::string out;
  while (!text.empty()) {
    const auto entity =
        std::ranges::find_if(kEntities, [&](const auto& known) { return text.starts_with(known.first); });
    out += entity == kEntities.end() ? text.front() : entity->second;
    text.remove_prefix(entity == kEntities.end() ? 1 : entity->first.size());
  }
  return out;
}

struct Element {
  std::string name;  // in lower case, as are the names of attributes
  bool ends = false;
  std::map<std::string, std::string> attributes;
};

class Head {
 public:
  explicit Head(std::string_view html) : rest_(html) {
    if (rest_.starts_with("\xef\xbb\xbf"))
      rest_.remove_prefix(3);
  }

  // The next element; nullopt at the end of the head.
  std::optional<Element> Next() {
    while (true) {
      Skip(kSpaces);
      if (!rest_.starts_with('<'))
        return std::nullopt;
      if (rest_.starts_with("<!--"))
        SkipBehind("-->");
      else if (rest_.starts_with("<!") || rest_.starts_with("<?"))
        SkipBehind(">");
      else
        return TakeElement();
    }
  }

 private:
  void Skip(std::string_view characters) {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(characters), rest_.size()));
  }

  void SkipBehind(std::string_view mark) {
    const size_t at = rest_.find(mark);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + mark.size());
  }

  std::string_view TakeUntil(std::string_view characters) {
    const std::string_view taken = rest_.substr(0, rest_.find_first_of(characters));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::optional<Element> TakeElement() {
    rest_.remove_prefix(1);
    Element element;
    if (rest_.starts_with('/')) {
      element.ends = true;
      rest_.remove_prefix(1);
    }
    element.name = LowerAscii(TakeUntil(" \t\n\f\r/>"));
    if (!TakeAttributes(element) || !IsOneOf(kOfHead, element.name) || (element.ends && element.name == "head"))
      return std::nullopt;
    if (!element.ends && IsOneOf(kWithText, element.name))
      SkipText(element.name);
    return element;
  }

  // False when the text ends before the element does.
  bool TakeAttributes(Element& element) {
    size_t count = 0;
    while (true) {
      Skip(" \t\n\f\r/");
      if (rest_.empty())
        return false;
      if (rest_.starts_with('>')) {
        rest_.remove_prefix(1);
        return true;
      }
      if (++count > kMaxTagAttributes)
        throw Error(ErrorKind::kCorrupt, std::string(kPage) + " has an element with more than " +
                                             std::to_string(kMaxTagAttributes) + " attributes");
      const std::string_view first = rest_.substr(0, 1);  // may be '='
      rest_.remove_prefix(1);
      std::string name = LowerAscii(std::string(first) + std::string(TakeUntil(" \t\n\f\r/>=")));
      Skip(kSpaces);
      std::string value;
      if (rest_.starts_with('=') && !TakeValue(value))
        return false;
      element.attributes.emplace(std::move(name), std::move(value));  // the first of a name counts
    }
  }

  bool TakeValue(std::string& value) {
    rest_.remove_prefix(1);
    Skip(kSpaces);
    if (!rest_.starts_with('"') && !rest_.starts_with('\'')) {
      value = WithoutEntities(TakeUntil(" \t\n\f\r>"));
      return true;
    }
    const std::string_view quote = rest_.substr(0, 1);
    rest_.remove_prefix(1);
    value = WithoutEntities(TakeUntil(quote));
    if (rest_.empty())
      return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Up to its end tag, which is the next element.
  void SkipText(const std::string& name) {
    while (!rest_.empty()) {
      SkipBehind("</");
      if (LowerAscii(rest_.substr(0, name.size())) != name || rest_.size() == name.size() ||
          std::string_view(" \t\n\f\r/>").find(rest_[name.size()]) == std::string_view::npos)
        continue;
      SkipBehind(">");
      return;
    }
  }

  std::string_view rest_;
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t at = text.find_first_not_of(kSpaces); at < text.size(); at = text.find_first_not_of(kSpaces, at)) {
    const size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::optional<DiscoveryTag> ParseTag(const Element& element) {
  const auto content = element.attributes.find("content");
  if (content == element.attributes.end())
    return std::nullopt;
  const std::vector<std::string_view> words = Words(content->second);
  if (words.size() != 2 || !IsAcIdentifier(words[0]))
    return std::nullopt;
  return DiscoveryTag{std::string(words[0]), std::string(words[1])};
}

const std::string* FindLabel(const AppcReference& reference, std::string_view name) {
  return FindPair(reference.labels, name);
}

std::optional<std::string> ValueOf(std::string_view variable, const AppcReference& wanted, std::string_view extension) {
  if (variable == "name")
    return wanted.name;  // its letters need no encoding
  if (variable == "ext")
    return std::string(extension);
  if (const std::string* label = FindLabel(wanted, variable))
    return PercentEncoded(*label);
  return variable == "version" ? std::optional(std::string(kDefaultAppcVersion)) : std::nullopt;
}

}  // namespace

bool DiscoveryTag::IsFor(std::string_view name) const {
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '/');
}

DiscoveryPage DiscoveryPage::Parse(std::string_view html) {
  DiscoveryPage page;
  Head head(html);
  size_t count = 0;
  while (const std::optional<Element> element = head.Next()) {
    if (element->name != "meta" || element->ends)
      continue;
    if (++count > kMaxDiscoveryTags)
      throw Error(ErrorKind::kCorrupt,
                  std::string(kPage) + " has more than " + std::to_string(kMaxDiscoveryTags) + " meta elements");
    const auto name = element->attributes.find("name");
    const bool about_images = name != element->attributes.end() && name->second == "ac-discovery";
    const bool about_keys = name != element->attributes.end() && name->second == "ac-discovery-pubkeys";
    if (!about_images && !about_keys)
      continue;
    if (std::optional<DiscoveryTag> tag = ParseTag(*element))
      (about_images ? page.images : page.keys).push_back(*std::move(tag));
  }
  return page;
}

std::vector<std::string> DiscoveryNames(const std::string& name) {
  std::vector<std::string> out;
  for (std::string at = name;; at.resize(at.rfind('/'))) {
    if (out.size() == kMaxDiscoveryDepth)
      throw Error(ErrorKind::kUnsupported,
                  Quoted(name) + " has more than " + std::to_string(kMaxDiscoveryDepth) + " components");
    out.push_back(at);
    if (at.find('/') == std::string::npos)
      return out;
  }
}

AppcReference WithPlatform(AppcReference wanted, const Platform& platform) {
  if (FindLabel(wanted, "os") == nullptr)
    wanted.labels.emplace_back("os", platform.os);
  if (FindLabel(wanted, "arch") != nullptr)
    return wanted;
  const auto arch = ToAppcArch(platform.architecture, platform.variant);
  if (!arch)
    throw Error(ErrorKind::kUnsupported, "appc has no name for " + platform.ToString(), "say which with ,arch=ARCH");
  wanted.labels.emplace_back("arch", *arch);
  return wanted;
}

std::optional<std::string> Render(std::string_view address_template, const AppcReference& wanted,
                                  std::string_view extension) {
  std::string out;
  while (!address_template.empty()) {
    const size_t open = std::min(address_template.find('{'), address_template.size());
    out += address_template.substr(0, open);
    address_template.remove_prefix(open);
    if (address_template.empty())
      break;
    const size_t close = address_template.find('}');
    if (close == std::string_view::npos)
      return std::nullopt;
    const auto value = ValueOf(address_template.substr(1, close - 1), wanted, extension);
    if (!value || out.size() + value->size() > kMaxUrlBytes)
      return std::nullopt;
    out += *value;
    address_template.remove_prefix(close + 1);
  }
  return out;
}

void RequireSame(const AciManifest& found, const AppcReference& wanted) {
  if (found.name != wanted.name)
    throw Error(ErrorKind::kCorrupt,
                "the image that was found for " + Quoted(wanted.name) + " calls itself " + Quoted(found.name));
  for (const auto& [name, value] : wanted.labels) {
    const std::string* const is = FindPair(found.labels, name);
    if (is == nullptr && (name == "os" || name == "arch"))
      continue;
    if (is == nullptr || *is != value)
      throw Error(ErrorKind::kCorrupt,
                  "the image that was found for " + Quoted(wanted.name) + " has " +
                      (is == nullptr ? "no label " + Quoted(name) : Quoted(name) + " " + Quoted(*is)) + " instead of " +
                      Quoted(value));
  }
}

}  // namespace gantry::image
