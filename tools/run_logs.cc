// gantry run logs.
#include <time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/pod_log.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"

namespace gantry::tools {
namespace {

constexpr size_t kMostTail = 1'000'000;

struct LogOptions {
  VerbOptions verb;
  std::string app;
  bool follow = false, timestamps = false;
  size_t tail = kMostTail;
};

// JSON has no place for other bytes.
std::string Utf8(std::string_view text) {
  const std::string quoted = Quoted(text.substr(0, 200));
  std::string out(text);
  try {
    json::Parse(json::Print(json::Value(out)), "a line");
  } catch (const Error&) {
    out = quoted.substr(1, quoted.size() - 2);
  }
  return out;
}

class Printer {
 public:
  Printer(const LogOptions& options, std::string app) : options_(options), app_(std::move(app)) {}

  void Print(const runner::LogLine& line) {
    std::string text;
    if (options_.verb.json) {
      text = json::Print(json::Object{{"time", line.time},
                                      {"app", app_},
                                      {"stream", line.stream == runner::Stream::kOutput ? "stdout" : "stderr"},
                                      {"text", Utf8(line.text)},
                                      {"whole", line.whole}}) +
             "\n";
    } else {
      if (options_.timestamps)
        text = std::string(line.time) + " ";
      text += line.text;
      if (line.whole)
        text += '\n';
    }
    const bool to_error = line.stream == runner::Stream::kError && !options_.verb.json;
    WriteFull(to_error ? STDERR_FILENO : STDOUT_FILENO, AsBytes(text), "the log");
  }

 private:
  const LogOptions& options_;
  std::string app_;
};

struct Kept {
  std::string time, text;
  runner::LogLine line;
};

void PrintTail(runner::LogReader& reader, Printer& printer, size_t tail) {
  std::deque<Kept> last;
  reader.Read([&](const runner::LogLine& line) {
    last.push_back({std::string(line.time), std::string(line.text), line});
    if (last.size() > tail)
      last.pop_front();
  });
  for (const Kept& kept : last) {
    runner::LogLine line = kept.line;
    line.time = kept.time;
    line.text = kept.text;
    printer.Print(line);
  }
}

int Logs(const LogOptions& options) {
  // Who reads no more, like head(1), has had enough: no error.
  std::signal(SIGPIPE, SIG_DFL);
  const Dir pods = OpenPods(*options.verb.common);
  const runner::PodRecord pod = NamedPod(pods, options.verb);
  const std::string app = MeantApp(pod, options.verb, options.app).name;
  if (pod.plan().log == runner::LogDriver::kJournal)
    throw Error(ErrorKind::kUnsupported, "what pod " + pod.uuid() + " wrote is in the journal",
                "see it with: journalctl GANTRY_POD=" + pod.uuid());
  if (pod.plan().log == runner::LogDriver::kNone)
    throw Error(ErrorKind::kNotFound, "pod " + pod.uuid() + " was started with --log-driver=none, and has no log");
  const Dir dir = pods.OpenDir(RelPath::Parse(pod.uuid()));
  if (!dir.Exists(RelPath::Parse(app + ".log")))
    throw Error(ErrorKind::kNotFound, "there is no log of app " + Quoted(app) + " of pod " + pod.uuid(),
                "only pods that were started with --detach have logs");
  runner::LogReader reader(dir, app);
  Printer printer(options, app);
  const auto print = [&](const runner::LogLine& line) { printer.Print(line); };
  if (options.tail < kMostTail)
    PrintTail(reader, printer, options.tail);
  else
    reader.Read(print);
  const timespec pause = {0, 50'000'000};
  while (options.follow) {
    // Asked first: what was written before the end is there when it says that it has ended.
    const auto now = runner::PodRecord::Read(pods, pod.uuid());
    const bool runs = now && now->StatusOf(app).pid;
    if (!reader.Read(print)) {
      if (!runs)
        return 0;
      nanosleep(&pause, nullptr);
    }
  }
  return 0;
}

}  // namespace

void AddLogVerb(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions) {
  const auto options = std::make_shared<LogOptions>();
  options->verb.common = &common;
  CLI::App* logs = AddVerb(app, "logs", "print what an app of a detached pod wrote", "POD", options->verb);
  logs->add_option("--app", options->app, "which, of several")->type_name("NAME");
  logs->add_flag("-f,--follow", options->follow, "go on until the app ends");
  logs->add_flag("--timestamps", options->timestamps, "print the time of each line");
  logs->add_option("--tail", options->tail, "only the last lines")->type_name("COUNT")->option_text("COUNT");
  actions.push_back({logs, [options] { return Logs(*options); }});
}

}  // namespace gantry::tools
