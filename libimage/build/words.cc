#include "libimage/build/words.h"

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool StartsName(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNamePart(char c) { return StartsName(c) || (c >= '0' && c <= '9'); }

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
    size_t end = at_;
    while (end < text_.size() && (end == at_ ? StartsName(text_[end]) : IsNamePart(text_[end]))) ++end;
    if (end == at_)
      word += '$';
    else
      word += rules_.variable(text_.substr(at_, end - at_)).value_or("");
    at_ = end;
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
    const std::string_view inside = text_.substr(begin, end - begin);
    size_t length = 0;
    while (length < inside.size() && (length == 0 ? StartsName(inside[0]) : IsNamePart(inside[length]))) ++length;
    const std::string_view rest = inside.substr(length);
    if (length == 0 || (!rest.empty() && !rest.starts_with(":-") && !rest.starts_with(":+")))
      throw Error(ErrorKind::kUnsupported, "${" + std::string(inside) + "} is not supported",
                  "${NAME}, ${NAME:-otherwise} and ${NAME:+instead} are");
    const auto value = rules_.variable(inside.substr(0, length));
    const bool set = value && !value->empty();
    at_ = end + 1;
    if (rest.empty())
      word += value.value_or("");
    else if (rest.starts_with(":-"))
      word += set ? *value : Lexer(rest.substr(2), rules_, depth_ + 1).Word(false);
    else if (set)
      word += Lexer(rest.substr(2), rules_, depth_ + 1).Word(false);
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
