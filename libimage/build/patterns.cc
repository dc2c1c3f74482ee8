#include "libimage/build/patterns.h"

#include <algorithm>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

// One piece of a pattern, which stands for one character, or for many.
struct Token {
  enum class Kind { kCharacter, kAny, kClass, kStar, kDoubleStar };
  Kind kind;
  char character = 0;
  std::string_view inside = {};  // of a class, with its '^'
};

[[noreturn]] void Bad(std::string_view pattern) {
  throw Error(ErrorKind::kCorrupt, Quoted(pattern) + " is not a pattern",
              "is a ']' missing, or a character after '\\'?");
}

Token TakeToken(std::string_view pattern, size_t& at) {
  const char c = pattern[at++];
  if (c == '*') {
    if (at == pattern.size() || pattern[at] != '*')
      return {Token::Kind::kStar};
    ++at;
    return {Token::Kind::kDoubleStar};
  }
  if (c == '?')
    return {Token::Kind::kAny};
  if (c == '\\') {
    if (at == pattern.size())
      Bad(pattern);
    return {Token::Kind::kCharacter, pattern[at++]};
  }
  if (c != '[')
    return {Token::Kind::kCharacter, c};
  const size_t end = pattern.find(']', at + 1);
  if (end == std::string_view::npos)
    Bad(pattern);
  const Token token{Token::Kind::kClass, 0, pattern.substr(at, end - at)};
  at = end + 1;
  return token;
}

bool InClass(std::string_view inside, char c) {
  const bool negated = inside.starts_with('^');
  if (negated)
    inside.remove_prefix(1);
  bool found = false;
  for (size_t i = 0; i < inside.size(); ++i) {
    if (i + 2 < inside.size() && inside[i + 1] == '-') {
      found |= inside[i] <= c && c <= inside[i + 2];
      i += 2;
    } else {
      found |= inside[i] == c;
    }
  }
  return found != negated;
}

bool IsOne(const Token& token, char c) {
  if (token.kind == Token::Kind::kCharacter)
    return token.character == c;
  return c != '/' && (token.kind == Token::Kind::kAny || InClass(token.inside, c));
}

std::string_view Normal(std::string_view text) {
  while (text.starts_with("./") || text.starts_with('/')) text.remove_prefix(text.starts_with('/') ? 1 : 2);
  while (text.ends_with('/')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool HasPattern(std::string_view text) { return text.find_first_of("*?[\\") != std::string_view::npos; }

// Token by token over all places at once where the path may be: linear in both, whatever the pattern.
bool Matches(std::string_view pattern, std::string_view path) {
  if (pattern.size() > kMaxPatternBytes || path.size() > kMaxPatternBytes)
    throw Error(ErrorKind::kCorrupt, "a pattern or path is longer than " + std::to_string(kMaxPatternBytes) + " bytes");
  std::vector<bool> here(path.size() + 1);
  here[0] = true;
  for (size_t at = 0; at < pattern.size();) {
    const Token token = TakeToken(pattern, at);
    std::vector<bool> next(path.size() + 1);
    if (token.kind == Token::Kind::kStar || token.kind == Token::Kind::kDoubleStar) {
      const bool crosses = token.kind == Token::Kind::kDoubleStar;
      // "**/" is no directory at all, too.
      const bool with_slash = crosses && at < pattern.size() && pattern[at] == '/';
      at += with_slash ? 1 : 0;
      bool reachable = false;
      for (size_t i = 0; i <= path.size(); ++i) {
        reachable = here[i] || (reachable && (crosses || path[i - 1] != '/'));
        next[i] = with_slash ? here[i] || (reachable && i > 0 && path[i - 1] == '/') : reachable;
      }
    } else {
      for (size_t i = 0; i < path.size(); ++i) next[i + 1] = here[i] && IsOne(token, path[i]);
    }
    here = std::move(next);
  }
  return here[path.size()];
}

IgnoredPaths IgnoredPaths::Parse(std::string_view text) {
  if (text.size() > kMaxIgnoreBytes)
    throw Error(ErrorKind::kCorrupt, "longer than " + std::to_string(kMaxIgnoreBytes) + " bytes");
  IgnoredPaths ignored;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    const bool exception = line.starts_with('!');
    const std::string_view pattern = Normal(exception ? line.substr(1) : line);
    if (pattern.empty() || line.starts_with('#'))
      continue;
    if (ignored.patterns_.size() == kMaxIgnorePatterns)
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxIgnorePatterns) + " patterns");
    Matches(pattern, "");
    ignored.patterns_.push_back({std::string(pattern), exception});
    ignored.has_exceptions_ |= exception;
  }
  return ignored;
}

bool IgnoredPaths::Has(std::string_view path) const {
  bool ignored = false;
  for (const Pattern& pattern : patterns_) {
    if (ignored != pattern.exception)
      continue;  // it would change nothing
    for (size_t end = path.find('/');; end = path.find('/', end + 1)) {
      if (Matches(pattern.text, path.substr(0, end))) {
        ignored = !pattern.exception;
        break;
      }
      if (end == std::string_view::npos)
        break;
    }
  }
  return ignored;
}

}  // namespace gantry::image
