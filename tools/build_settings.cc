#include "tools/build_settings.h"

#include <functional>
#include <map>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/execution.h"
#include "tools/build_context.h"

namespace gantry::tools {
namespace {

using image::Draft;
using image::Instruction;
using image::WordRules;

constexpr size_t kMaxListed = 10'000;
constexpr uint64_t kMaxNanoseconds = 100'000'000 * uint64_t{1'000'000'000};

std::vector<std::string> List(const Draft& draft, const char* member) {
  const json::Value* value = draft.Get(member);
  return value == nullptr ? std::vector<std::string>() : json::Cursor(*value, member).Strings(kMaxListed);
}

// NAME=VALUE..., or in the old form NAME and the rest of the line.
std::vector<std::pair<std::string, std::string>> Pairs(const Instruction& step, const WordRules& words) {
  std::vector<std::pair<std::string, std::string>> pairs;
  const std::vector<std::string> all = image::SplitWords(step.text, words);
  if (all.at(0).find('=') == std::string::npos) {
    const size_t end = step.text.find_first_of(" \t");
    if (end == std::string::npos)
      throw Error(ErrorKind::kCorrupt, step.name + " " + Quoted(step.text) + " has no value");
    const std::string_view rest = Trimmed(std::string_view(step.text).substr(end));
    return {{all[0], image::ExpandText(rest, words)}};
  }
  for (const std::string& word : all) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ErrorKind::kCorrupt, Quoted(word) + " is not NAME=VALUE");
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return pairs;
}

void Expose(const std::string& word, std::vector<std::string>& into) {
  const size_t slash = std::min(word.find('/'), word.size());
  const std::string protocol = slash == word.size() ? "tcp" : LowerAscii(word.substr(slash + 1));
  const std::string range = word.substr(0, slash);
  const size_t dash = range.find('-');
  const auto first = ParseDecimal<uint16_t>(range.substr(0, dash));
  const auto last = dash == std::string::npos ? first : ParseDecimal<uint16_t>(range.substr(dash + 1));
  if (!first || !last || *first == 0 || *last < *first)
    throw Error(ErrorKind::kCorrupt, Quoted(word) + " is no port", "PORT[-PORT][/PROTOCOL]");
  for (uint32_t port = *first; port <= *last; ++port) into.push_back(std::to_string(port) + "/" + protocol);
}

// Go's "1m30s", "500ms".
uint64_t Nanoseconds(const std::string& text) {
  constexpr uint64_t kSecond = 1'000'000'000;
  static const std::map<std::string, uint64_t, std::less<>> kUnits{
      {"ns", 1}, {"us", 1000}, {"ms", 1'000'000}, {"s", kSecond}, {"m", 60 * kSecond}, {"h", 3600 * kSecond}};
  uint64_t total = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t unit = std::min(text.find_first_not_of("0123456789", at), text.size());
    const size_t end = std::min(text.find_first_of("0123456789", unit), text.size());
    const auto number = ParseDecimal<uint64_t>(text.substr(at, unit - at));
    const auto known = kUnits.find(text.substr(unit, end - unit));
    if (!number || known == kUnits.end() || *number > (kMaxNanoseconds - total) / known->second)
      throw Error(ErrorKind::kUnsupported, Quoted(text) + " is no time that is supported", "30s, 1m30s, 500ms");
    total += *number * known->second;
    at = end;
  }
  return total;
}

void SetHealthCheck(Draft& draft, const Instruction& step) {
  const size_t end = std::min(step.text.find_first_of(" \t"), step.text.size());
  const std::string kind = LowerAscii(step.text.substr(0, end));
  if (kind == "none")
    return draft.Set("Healthcheck", json::Object{{"Test", std::vector<std::string>{"NONE"}}});
  const std::string command(Trimmed(std::string_view(step.text).substr(end)));
  if (kind != "cmd" || command.empty())
    throw Error(ErrorKind::kCorrupt, "expected 'HEALTHCHECK [OPTIONS] CMD COMMAND' or 'HEALTHCHECK NONE'");
  std::vector<std::string> test{"CMD-SHELL", command};
  if (auto words = image::JsonWords(command)) {
    test = *std::move(words);
    test.insert(test.begin(), "CMD");
  }
  json::Object check{{"Test", test}};
  for (const auto& [flag, member] : {std::pair{"interval", "Interval"},
                                     {"timeout", "Timeout"},
                                     {"start-period", "StartPeriod"},
                                     {"start-interval", "StartInterval"}}) {
    if (const auto value = FlagOf(step, flag))
      check.Set(member, Nanoseconds(*value));
  }
  if (const auto retries = FlagOf(step, "retries")) {
    const auto number = ParseDecimal<uint32_t>(*retries);
    if (!number)
      throw Error(ErrorKind::kCorrupt, Quoted(*retries) + " is no number");
    check.Set("Retries", uint64_t{*number});
  }
  draft.Set("Healthcheck", std::move(check));
}

void SetShell(Draft& draft, const Instruction& step) {
  if (!step.words || step.words->empty())
    throw Error(ErrorKind::kCorrupt, "SHELL has the JSON form alone", "SHELL [\"/bin/sh\", \"-c\"]");
  draft.Set("Shell", *step.words);
}

}  // namespace

std::optional<std::string> EnvironmentOf(const Draft& draft, std::string_view name) {
  std::optional<std::string> found;
  for (const std::string& entry : List(draft, "Env")) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      found = entry.substr(name.size() + 1);
  }
  return found;
}

std::string InDirectory(const Draft& draft, const std::string& path) {
  if (path.starts_with('/'))
    return image::CleanAbsolute(path);
  const json::Value* at = draft.Get("WorkingDir");
  const std::string directory = at != nullptr && at->string() != nullptr ? *at->string() : "";
  return image::CleanAbsolute(directory + "/" + path);
}

std::vector<std::string> CommandOf(const Draft& draft, const Instruction& step) {
  if (step.words)
    return *step.words;
  std::vector<std::string> command = List(draft, "Shell");
  if (command.empty())
    command = {"/bin/sh", "-c"};
  command.push_back(step.text);
  return command;
}

void ApplySetting(Draft& draft, const Instruction& step, const WordRules& words, bool& has_cmd) {
  const std::string& name = step.name;
  if (name == "ENV") {
    for (const auto& [variable, value] : Pairs(step, words)) draft.SetEnvironment(variable, value);
  } else if (name == "LABEL") {
    for (const auto& [label, value] : Pairs(step, words)) draft.SetLabel(label, value);
  } else if (name == "USER") {
    draft.Set("User", image::ExpandText(step.text, words));
  } else if (name == "EXPOSE") {
    std::vector<std::string> ports;
    for (const std::string& word : image::SplitWords(step.text, words)) Expose(word, ports);
    draft.AddKeys("ExposedPorts", ports);
  } else if (name == "VOLUME") {
    std::vector<std::string> paths = step.words ? *step.words : image::SplitWords(step.text, words);
    for (std::string& path : paths) path = InDirectory(draft, path);
    draft.AddKeys("Volumes", paths);
  } else if (name == "ENTRYPOINT") {
    draft.Set("Entrypoint", CommandOf(draft, step));
    if (!has_cmd)
      draft.Set("Cmd", json::Value());
  } else if (name == "CMD") {
    draft.Set("Cmd", CommandOf(draft, step));
    has_cmd = true;
  } else if (name == "STOPSIGNAL") {
    const std::string signal = image::ExpandText(step.text, words);
    if (!image::ParseSignal(signal))
      throw Error(ErrorKind::kCorrupt, Quoted(signal) + " is no signal");
    draft.Set("StopSignal", signal);
  } else if (name == "SHELL") {
    SetShell(draft, step);
  } else if (name == "HEALTHCHECK") {
    SetHealthCheck(draft, step);
  } else {
    throw Error(ErrorKind::kUnsupported, "the instruction " + Quoted(name) + " is not supported here");
  }
}

}  // namespace gantry::tools
