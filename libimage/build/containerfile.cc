#include "libimage/build/containerfile.h"

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/build/lines.h"
#include "libimage/build/words.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxFlags = 16;
constexpr size_t kMaxJsonWords = 1000;

struct Known {
  std::string_view name;
  std::array<std::string_view, 5> flags = {};
  bool json = false;  // may have the JSON form
};

constexpr std::array kKnown = {
    Known{"FROM", {"platform"}},
    Known{"RUN", {}, true},
    Known{"COPY", {"from", "chown", "chmod"}, true},
    Known{"ADD", {"chown", "chmod"}, true},
    Known{"ENV"},
    Known{"ARG"},
    Known{"LABEL"},
    Known{"WORKDIR"},
    Known{"USER"},
    Known{"EXPOSE"},
    Known{"VOLUME", {}, true},
    Known{"ENTRYPOINT", {}, true},
    Known{"CMD", {}, true},
    Known{"STOPSIGNAL"},
    Known{"SHELL", {}, true},
    Known{"HEALTHCHECK", {"interval", "timeout", "start-period", "start-interval", "retries"}},
};

constexpr std::string_view kSpaces = " \t";

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return upper;
}

std::string_view Skip(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

std::string_view FirstWord(std::string_view text) { return text.substr(0, text.find_first_of(kSpaces)); }

const Known& KnownAs(const std::string& name) {
  const auto known = std::ranges::find(kKnown, name, &Known::name);
  if (known == kKnown.end())
    throw Error(ErrorKind::kUnsupported, "the instruction " + Quoted(name) + " is not supported",
                "gantry-build(1) lists what is");
  return *known;
}

// Takes the flags off the front of `text`.
std::string_view TakeFlags(std::string_view text, const Known& known, Instruction& into) {
  while (text.starts_with("--")) {
    const std::string_view word = FirstWord(text);
    const size_t equals = std::min(word.find('='), word.size());
    const std::string_view name = word.substr(2, equals - 2);
    if (name.empty() || std::ranges::find(known.flags, name) == known.flags.end() || into.flags.size() == kMaxFlags)
      throw Error(ErrorKind::kUnsupported, std::string(known.name) + " " + Quoted(word) + " is not supported",
                  "gantry-build(1) lists what is");
    into.flags.emplace_back(name, word.substr(std::min(equals + 1, word.size())));
    text = Skip(text.substr(word.size()));
  }
  return text;
}

// "<<END", "3<<-'END'": a word that begins a here-document, for BuildKit and for the shell alike.
std::optional<HereDocument> DocumentOf(std::string_view word) {
  word.remove_prefix(std::min(word.find_first_not_of("0123456789"), word.size()));
  if (!word.starts_with("<<"))
    return std::nullopt;
  word.remove_prefix(2);
  const bool strips_tabs = word.starts_with('-');
  word.remove_prefix(strips_tabs ? 1 : 0);
  std::string delimiter;
  for (const char c : word) delimiter += c == '"' || c == '\'' || c == '\\' ? std::string() : std::string(1, c);
  if (delimiter.empty() || delimiter.find('<') != std::string::npos)
    return std::nullopt;
  return HereDocument{std::move(delimiter), strips_tabs};
}

std::vector<HereDocument> DocumentsIn(const std::string& line, char escape) {
  std::vector<HereDocument> documents;
  const std::string name = Upper(FirstWord(line));
  if (line.find("<<") == std::string::npos || (name != "RUN" && name != "COPY" && name != "ADD"))
    return documents;
  std::vector<std::string> words;
  try {
    words = SplitWords(line, {.escape = escape, .keep_quotes = true});
  } catch (const Error&) {
    return documents;  // the shell may know what that means
  }
  for (const std::string& word : words) {
    if (auto document = DocumentOf(word))
      documents.push_back(*std::move(document));
  }
  if (!documents.empty() && name != "RUN")
    throw Error(ErrorKind::kUnsupported, "here-documents of " + name + " are not supported",
                "put the text into a file, and " + name + " it");
  return documents;
}

// A document alone is the script; behind a command, the shell reads it.
void AddDocuments(const std::vector<HereDocument>& documents, Instruction& run) {
  if (documents.empty())
    return;
  const bool alone = documents.size() == 1 && run.text.find_first_of(kSpaces) == std::string::npos;
  if (alone && documents[0].content.starts_with("#!"))
    throw Error(ErrorKind::kUnsupported, "a here-document with a line '#!' is not supported",
                "put it into a file, COPY and RUN that, or leave the line out");
  if (alone) {
    run.text = documents[0].content;
    return;
  }
  for (const HereDocument& document : documents)
    run.text.append("\n").append(document.content).append(document.delimiter);
}

Instruction ParseInstruction(const LogicalLine& line) {
  const std::string_view first = FirstWord(line.text);
  Instruction instruction{.line = line.number, .name = Upper(first)};
  const Known& known = KnownAs(instruction.name);
  instruction.text = TakeFlags(Skip(std::string_view(line.text).substr(first.size())), known, instruction);
  if (instruction.text.empty())
    throw Error(ErrorKind::kCorrupt, instruction.name + " of nothing");
  if (known.json)
    instruction.words = JsonWords(instruction.text);
  AddDocuments(line.documents, instruction);
  return instruction;
}

// "BASE [AS NAME]".
BuildStage ParseStage(Instruction from) {
  BuildStage stage;
  const std::string text = from.text;
  const std::string_view base = FirstWord(text);
  const std::string_view rest = Skip(std::string_view(text).substr(base.size()));
  if (!rest.empty()) {
    const std::string_view as = FirstWord(rest);
    const std::string_view name = Skip(rest.substr(as.size()));
    if (LowerAscii(as) != "as" || name.empty() || name.find_first_of(kSpaces) != std::string_view::npos)
      throw Error(ErrorKind::kCorrupt, "expected 'FROM BASE' or 'FROM BASE AS NAME', found " + Quoted(text));
    stage.name = LowerAscii(name);
  }
  from.text = base;
  stage.from = std::move(from);
  return stage;
}

void Place(Instruction instruction, Containerfile& into) {
  if (instruction.name == "FROM") {
    if (into.stages.size() == kMaxStages)
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxStages) + " stages");
    into.stages.push_back(ParseStage(std::move(instruction)));
  } else if (!into.stages.empty()) {
    into.stages.back().steps.push_back(std::move(instruction));
  } else if (instruction.name == "ARG") {
    into.arguments.push_back(std::move(instruction));
  } else {
    throw Error(ErrorKind::kCorrupt, instruction.name + " before the first FROM");
  }
}

// "# escape=`" among the comments that the file begins with.
char EscapeOf(std::string_view text) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = Skip(text.substr(begin, end - begin));
    begin = end + 1;
    if (!line.starts_with('#'))
      break;
    const std::string directive = LowerAscii(Skip(line.substr(1)));
    const size_t equals = directive.find('=');
    if (equals == std::string::npos)
      break;
    const std::string_view value = FirstWord(Skip(std::string_view(directive).substr(equals + 1)));
    if (directive.starts_with("escape") && (value == "`" || value == "\\"))
      return value.front();
  }
  return '\\';
}

}  // namespace

std::optional<std::vector<std::string>> JsonWords(std::string_view text) {
  if (!text.starts_with('['))
    return std::nullopt;
  try {
    const json::Value value = json::Parse(text, "words");
    return json::Cursor(value, "words").Strings(kMaxJsonWords);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string Instruction::ToString() const {
  std::string out = name;
  for (const auto& [flag, value] : flags) out.append(" --").append(flag).append("=").append(value);
  return out.append(" ").append(text);
}

Containerfile Containerfile::Parse(std::string_view text) {
  Containerfile file;
  file.escape = EscapeOf(text.substr(0, kMaxContainerfileBytes));
  size_t count = 0;
  const auto documents = [&](const std::string& line) { return DocumentsIn(line, file.escape); };
  for (const LogicalLine& line : JoinLines(text, file.escape, kMaxContainerfileBytes, documents)) {
    try {
      if (++count > kMaxInstructions)
        throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxInstructions) + " instructions");
      Place(ParseInstruction(line), file);
    } catch (const Error& error) {
      throw error.WithContext("line " + std::to_string(line.number));
    }
  }
  if (file.stages.empty())
    throw Error(ErrorKind::kCorrupt, "no FROM, where an image begins");
  return file;
}

}  // namespace gantry::image
