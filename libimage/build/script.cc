#include "libimage/build/script.h"

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/build/lines.h"
#include "libimage/build/words.h"

namespace gantry::image {

std::vector<ScriptCommand> ParseScript(std::string_view text) {
  std::vector<ScriptCommand> commands;
  for (const LogicalLine& line : JoinLines(text, '\\', kMaxScriptBytes)) {
    if (commands.size() == kMaxScriptCommands)
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxScriptCommands) + " commands");
    ScriptCommand command{line.number, {}};
    try {
      command.words = SplitWords(line.text, {});
    } catch (const Error& error) {
      throw error.WithContext("line " + std::to_string(line.number));
    }
    if (command.words.empty())
      continue;
    command.words[0] = LowerAscii(command.words[0]);
    commands.push_back(std::move(command));
  }
  return commands;
}

}  // namespace gantry::image
