#include "libimage/model/version_range.h"

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The part before the next of `set`, taken off `rest` with it.
std::string_view TakeUntil(std::string_view& rest, char mark) {
  const size_t end = std::min(rest.find(mark), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

// Identifiers between dots, none of them empty.
bool IsIdentifiers(std::string_view text) {
  if (text.empty() || text.ends_with('.'))
    return false;
  while (!text.empty()) {
    const std::string_view part = TakeUntil(text, '.');
    const bool good = !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) {
      return c < 0x80 && (isalnum(c) != 0 || c == '-');
    });
    if (!good)
      return false;
  }
  return true;
}

// "1.2.3-pre+build" in pieces.
struct Pieces {
  std::vector<std::string_view> numbers;
  std::string_view pre;
};

std::optional<Pieces> Split(std::string_view text) {
  if (text.starts_with('v') || text.starts_with('V'))
    text.remove_prefix(1);
  if (text.size() > kMaxVersionBytes)
    return std::nullopt;
  if (const size_t plus = text.find('+'); plus != std::string_view::npos) {
    if (!IsIdentifiers(text.substr(plus + 1)))
      return std::nullopt;
    text = text.substr(0, plus);
  }
  Pieces pieces;
  if (const size_t dash = text.find('-'); dash != std::string_view::npos) {
    pieces.pre = text.substr(dash + 1);
    if (!IsIdentifiers(pieces.pre))
      return std::nullopt;
    text = text.substr(0, dash);
  }
  if (text.ends_with('.'))
    return std::nullopt;
  while (!text.empty()) pieces.numbers.push_back(TakeUntil(text, '.'));
  if (pieces.numbers.empty() || pieces.numbers.size() > 3)
    return std::nullopt;
  return pieces;
}

std::strong_ordering ComparePart(std::string_view a, std::string_view b) {
  const bool numbers = IsDigits(a) && IsDigits(b);
  if (numbers && a.size() != b.size()) {
    const auto trimmed = [](std::string_view n) { return n.substr(std::min(n.find_first_not_of('0'), n.size())); };
    if (trimmed(a).size() != trimmed(b).size())
      return trimmed(a).size() <=> trimmed(b).size();
    return trimmed(a).compare(trimmed(b)) <=> 0;
  }
  if (IsDigits(a) != IsDigits(b))
    return IsDigits(a) ? std::strong_ordering::less : std::strong_ordering::greater;
  return a.compare(b) <=> 0;
}

std::strong_ordering ComparePre(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty())
    return a.empty() <=> b.empty();  // none is more than any
  while (!a.empty() && !b.empty()) {
    const auto order = ComparePart(TakeUntil(a, '.'), TakeUntil(b, '.'));
    if (order != 0)
      return order;
  }
  return b.empty() <=> a.empty();
}

[[noreturn]] void FailRange(std::string_view whole, const std::string& problem) {
  throw Error(ErrorKind::kUsage, Quoted(whole) + " is no range of versions: " + problem,
              "write for example \">= 1.2, < 2\", \"^1.2\" or \"~1.4.0 || 2.x\"");
}

bool IsAny(std::string_view number) { return number == "x" || number == "X" || number == "*"; }

}  // namespace

std::optional<Version> Version::Parse(std::string_view text) {
  const std::optional<Pieces> pieces = Split(text);
  if (!pieces)
    return std::nullopt;
  Version out{.pre = std::string(pieces->pre)};
  const std::array<uint64_t*, 3> into = {&out.major, &out.minor, &out.patch};
  for (size_t i = 0; i < pieces->numbers.size(); ++i) {
    const auto number = IsDigits(pieces->numbers[i]) ? ParseDecimal<uint64_t>(pieces->numbers[i]) : std::nullopt;
    if (!number)
      return std::nullopt;
    *into[i] = *number;
  }
  return out;
}

std::strong_ordering operator<=>(const Version& a, const Version& b) {
  if (const auto order = a.major <=> b.major; order != 0)
    return order;
  if (const auto order = a.minor <=> b.minor; order != 0)
    return order;
  if (const auto order = a.patch <=> b.patch; order != 0)
    return order;
  return ComparePre(a.pre, b.pre);
}

VersionRange::Term VersionRange::ParseTerm(std::string_view text, std::string_view whole) {
  struct Spelling {
    std::string_view text;
    Op op;
  };
  constexpr std::array kSpellings = {
      Spelling{">=", Op::kAtLeast}, Spelling{"=>", Op::kAtLeast}, Spelling{"<=", Op::kAtMost},
      Spelling{"=<", Op::kAtMost},  Spelling{"!=", Op::kNot},     Spelling{"~>", Op::kTilde},
      Spelling{"=", Op::kEqual},    Spelling{">", Op::kGreater},  Spelling{"<", Op::kLess},
      Spelling{"~", Op::kTilde},    Spelling{"^", Op::kCaret}};
  Term term{.op = Op::kEqual, .version = {}};
  for (const Spelling& spelling : kSpellings) {
    if (text.starts_with(spelling.text)) {
      term.op = spelling.op;
      text = Trimmed(text.substr(spelling.text.size()));
      break;
    }
  }
  const std::optional<Pieces> pieces = Split(text);
  if (!pieces)
    FailRange(whole, Quoted(text) + " is no version");
  term.version.pre = pieces->pre;
  const std::array<uint64_t*, 3> into = {&term.version.major, &term.version.minor, &term.version.patch};
  const std::array<bool*, 3> any = {&term.any_major, &term.any_minor, &term.any_patch};
  for (size_t i = 0; i < into.size(); ++i) {
    if (i >= pieces->numbers.size() || IsAny(pieces->numbers[i])) {
      *any[i] = true;
      break;
    }
    const auto number = ParseDecimal<uint64_t>(pieces->numbers[i]);
    if (!number)
      FailRange(whole, Quoted(pieces->numbers[i]) + " is no number");
    *into[i] = *number;
  }
  return term;
}

// Blanks may stand behind an operator, and " - " is a range.
std::vector<VersionRange::Term> VersionRange::ParseAll(std::string_view text, std::string_view whole) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : std::string(text) + ",") {
    const bool blank = c == ' ' || c == '\t';
    const bool only_operator = !word.empty() && word.find_first_not_of("=!<>~^") == std::string::npos;
    if (blank && only_operator)
      continue;
    if (!blank && c != ',')
      word += c;
    else if (!word.empty())
      words.push_back(std::exchange(word, {}));
  }
  std::vector<Term> terms;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i + 2 < words.size() && words[i + 1] == "-") {
      terms.push_back(ParseTerm(">=" + words[i], whole));
      terms.push_back(ParseTerm("<=" + words[i + 2], whole));
      i += 2;
    } else {
      terms.push_back(ParseTerm(words[i], whole));
    }
  }
  if (terms.empty())
    FailRange(whole, "a part of it is empty");
  return terms;
}

VersionRange VersionRange::Parse(std::string_view text) {
  if (text.size() > kMaxRangeBytes)
    FailRange(text, "it has over " + std::to_string(kMaxRangeBytes) + " bytes");
  VersionRange range;
  for (size_t begin = 0;;) {
    const size_t end = std::min(text.find("||", begin), text.size());
    range.alternatives_.push_back(ParseAll(text.substr(begin, end - begin), text));
    if (end == text.size())
      return range;
    begin = end + 2;
  }
}

bool VersionRange::Term::FitsTilde(const Version& is) const {
  if (is < version)
    return false;
  if (any_major || (version == Version{} && !open()))
    return true;
  return is.major == version.major && (any_minor || is.minor == version.minor);
}

bool VersionRange::Term::FitsCaret(const Version& is) const {
  if (is < version)
    return false;
  if (any_major)
    return true;
  if (version.major > 0 || any_minor)
    return is.major == version.major;
  if (is.major > 0)
    return false;
  if (version.minor > 0 || any_patch)
    return is.minor == version.minor;
  return is.minor == 0 && is.patch == version.patch;
}

bool VersionRange::Term::FitsNot(const Version& is) const {
  if (!open())
    return is != version;
  if (any_major)
    return false;
  return is.major != version.major || (!any_minor && is.minor != version.minor);
}

bool VersionRange::Term::FitsGreater(const Version& is) const {
  if (!open() || is.major != version.major)
    return is > version && !any_major;
  return any_patch && is.minor > version.minor;
}

bool VersionRange::Term::FitsAtMost(const Version& is) const {
  if (!open() || any_major)
    return any_major || is <= version;
  if (is.major != version.major)
    return is.major < version.major;
  return any_minor || is.minor <= version.minor;
}

bool VersionRange::Term::Fits(const Version& is) const {
  if (!is.pre.empty() && version.pre.empty())
    return false;
  switch (op) {
    case Op::kEqual:
      return open() ? FitsTilde(is) : is == version;
    case Op::kNot:
      return FitsNot(is);
    case Op::kGreater:
      return FitsGreater(is);
    case Op::kLess:
      return is < version;
    case Op::kAtLeast:
      return is >= version;
    case Op::kAtMost:
      return FitsAtMost(is);
    case Op::kTilde:
      return FitsTilde(is);
    case Op::kCaret:
      return FitsCaret(is);
  }
  return false;
}

bool VersionRange::Contains(const Version& version) const {
  return std::any_of(alternatives_.begin(), alternatives_.end(), [&](const std::vector<Term>& all) {
    return std::all_of(all.begin(), all.end(), [&](const Term& term) { return term.Fits(version); });
  });
}

}  // namespace gantry::image
