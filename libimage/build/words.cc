#include "libimage/build/words.h"

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool StartsName(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNamePart(char c) { return StartsName(c) || (c >= '0' && c <= '9'); }

// Parameters that a shell has, such as $1 and $?, and nobody else: they are empty.
bool IsSpecial(char c) { return std::string_view("0123456789@*#?-$!").find(c) != std::string_view::npos; }

size_t NameLength(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && (length == 0 ? StartsName(text[0]) : IsNamePart(text[length]))) ++length;
  return length;
}

class Lexer {
 public:
  Lexer(std::string_view text, const WordRules& rules, size_t depth) : text_(text), rules_(rules), depth_(depth) {
    if (depth > kMaxVariableDepth)
      Fail("variables are nested too deeply");
  }

  std::vector<std::string> Words() {
    std::vector<std::string> words;
    while (at_ < text_.size()) {
      if (IsSpace(text_[at_])) {
        ++at_;
        continue;
      }
      if (words.size() == kMaxWords)
        Fail("more than " + std::to_string(kMaxWords) + " words");
      words.push_back(Word(true));
    }
    return words;
  }

  std::string Word(bool ends_at_space) {
    std::string word;
    while (at_ < text_.size() && !(ends_at_space && IsSpace(text_[at_]))) {
      Piece(word);
      if (word.size() > kMaxLineBytes)
        Fail("longer than " + std::to_string(kMaxLineBytes) + " bytes");
    }
    return word;
  }

 private:
  [[noreturn]] static void Fail(const std::string& why) { throw Error(ErrorKind::kCorrupt, why); }

  void Piece(std::string& word) {
    const char c = text_[at_];
    if (c == '\'')
      return SingleQuoted(word);
    if (c == '"')
      return DoubleQuoted(word);
    if (c == rules_.escape && at_ + 1 < text_.size())
      return Escaped(word, false);
    if (c == '$' && rules_.variable)
      return Variable(word);
    word += c;
    ++at_;
  }

  void SingleQuoted(std::string& word) {
    const size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos)
      Fail("a quote ' is not closed");
    word += rules_.keep_quotes ? text_.substr(at_, end + 1 - at_) : text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
  }

  void DoubleQuoted(std::string& word) {
    Keep(word, '"');
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_];
      if (c == rules_.escape && at_ + 1 < text_.size())
        Escaped(word, true);
      else if (c == '$' && rules_.variable)
        Variable(word);
      else
        word += c, ++at_;
    }
    if (at_ == text_.size())
      Fail("a quote \" is not closed");
    Keep(word, '"');
    ++at_;
  }

  // Inside double quotes the escape stands for itself before most characters.
  void Escaped(std::string& word, bool quoted) {
    const char next = text_[at_ + 1];
    const bool special = next == '"' || next == '$' || next == rules_.escape;
    if (rules_.keep_quotes || (quoted && !special))
      word += text_[at_];
    word += next;
    at_ += 2;
  }

  void Keep(std::string& word, char quote) const {
    if (rules_.keep_quotes)
      word += quote;
  }

  void Variable(std::string& word) {
    ++at_;
    if (at_ < text_.size() && text_[at_] == '{')
      return Braced(word);
    const size_t length = NameLength(text_.substr(at_));
    if (length == 0 && !(at_ < text_.size() && IsSpecial(text_[at_])))
      word += '$';
    else if (length == 0)
      ++at_;
    else
      word += rules_.variable(text_.substr(at_, length)).value_or("");
    at_ += length;
  }

  void Braced(std::string& word) {
    const size_t begin = at_ + 1;
    size_t end = begin, open = 1;
    while (end < text_.size()) {
      open += text_[end] == '{' ? 1 : 0;
      if (text_[end] == '}' && --open == 0)
        break;
      ++end;
    }
    if (end == text_.size())
      Fail("${ is not closed");
    at_ = end + 1;
    Substitute(text_.substr(begin, end - begin), word);
  }

  // "NAME", "NAME:-otherwise": what stands between the braces. With a colon, an empty value counts as none.
  void Substitute(std::string_view inside, std::string& word) const {
    const size_t length = NameLength(inside);
    std::string_view rest = inside.substr(length);
    const bool colon = rest.size() > 1 && rest.front() == ':';
    const char form = rest.empty() ? '\0' : rest[colon ? 1 : 0];
    if (length == 0 || (form != '\0' && form != '-' && form != '+' && form != '?'))
      throw Error(ErrorKind::kUnsupported, "${" + std::string(inside) + "} is not supported",
                  "${NAME}, and with :-otherwise, :+instead or :?message behind the name, are");
    const auto value = rules_.variable(inside.substr(0, length));
    const bool set = value && !(colon && value->empty());
    rest.remove_prefix(form == '\0' ? 0 : colon ? 2 : 1);
    const auto expanded = [&] { return Lexer(rest, rules_, depth_ + 1).Word(false); };
    if (form == '?' && !set)
      throw Error(ErrorKind::kFailed, "the variable " + std::string(inside.substr(0, length)) + " has no value" +
                                          (rest.empty() ? "" : ": " + expanded()));
    if (form == '+')
      word += set ? expanded() : "";
    else
      word += set || form != '-' ? value.value_or("") : expanded();
  }

  std::string_view text_;
  const WordRules& rules_;
  size_t depth_;
  size_t at_ = 0;
};

}  // namespace

std::vector<std::string> SplitWords(std::string_view text, const WordRules& rules) {
  return Lexer(text, rules, 0).Words();
}

std::string ExpandText(std::string_view text, const WordRules& rules) { return Lexer(text, rules, 0).Word(false); }

}  // namespace gantry::image
