// gantry VERB ...: becomes gantry-VERB, which it looks for beside itself and then in PATH, as git does.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Verb {
  std::string_view name;
  std::string_view summary;
};

constexpr std::array kVerbs = {
    Verb{"build", "make an image: step by step, by a script, by a Containerfile"},
    Verb{"convert", "turn an image into another format: Docker, OCI, ACI"},
    Verb{"diff", "show what differs between two images, in any formats"},
    Verb{"fetch", "bring an image into the store, verified before it gets its name"},
    Verb{"generate", "write files by which other programs start pods: systemd units"},
    Verb{"inspect", "show what an image is: manifest, configuration, layers"},
    Verb{"keygen", "make a pair of keys to sign images with"},
    Verb{"login", "try the password of a registry, and store it"},
    Verb{"logout", "forget the password of a registry"},
    Verb{"oci", "run bundles for engines: podman, containerd, Kubernetes"},
    Verb{"push", "put an image that is on this machine into a registry"},
    Verb{"run", "run an image in namespaces of its own"},
    Verb{"serve", "serve images of other registries in any format, converted as they are asked for"},
    Verb{"sign", "sign an image with OpenPGP and bare keys"},
    Verb{"store", "list, show, remove, check and collect what the store holds"},
    Verb{"sync", "copy many images from registries into one"},
    Verb{"tags", "list the tags of a repository, or delete some"},
    Verb{"trust", "say whose signatures count: keys, prefixes, policy"},
    Verb{"verify", "decide one image under the policy, and explain"},
};

// Where "gantry-`verb`" is; empty when nowhere.
std::string FindProgram(const std::string& verb) {
  std::vector<std::string> places{ProgramDirectory()};
  const char* search = std::getenv("PATH");
  std::string_view rest = search != nullptr ? search : "";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end != 0) {  // an empty entry would be the working directory
      places.emplace_back(rest.substr(0, end));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const std::string& place : places) {
    std::string program = place + "/gantry-" + verb;
    if (access(program.c_str(), X_OK) == 0) {
      return program;
    }
  }
  return {};
}

// Edits that make one word of the other: a letter put in, left out or changed, or two neighbours swapped.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  std::iota(cost[0].begin(), cost[0].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    cost[i][0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      cost[i][j] =
          std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

std::string Suggestion(std::string_view typed) {
  std::string text;
  if (typed.size() <= 32) {
    for (const Verb& verb : kVerbs) {
      const bool prefix = typed.size() >= 2 && verb.name.starts_with(typed);
      if (prefix || EditDistance(typed, verb.name) <= 2) {
        text += (text.empty() ? "did you mean '" : ", '") + std::string(verb.name) + "'";
      }
    }
  }
  return text.empty() ? "'gantry --help' lists the verbs" : text + "?";
}

bool IsVerb(std::string_view text) {
  return !text.empty() && text[0] != '-' && text.find_first_of("/\n") == std::string_view::npos;
}

std::string Help() {
  std::string text =
      "Fetch, convert, sign, verify and run container images.\n\n"
      "Usage: gantry VERB [ARGUMENT...]\n\n"
      "Verbs:\n";
  for (const Verb& verb : kVerbs) {
    std::string name(verb.name);
    name.resize(12, ' ');
    text += "  " + name + std::string(verb.summary) + "\n";
  }
  return text +
         "\nOptions:\n"
         "  -h,--help   print this and exit\n"
         "  --version   print the version and exit\n"
         "\n'gantry VERB --help' says more, and gantry-VERB(1) all of it.\n";
}

// Returns only by throwing.
int Become(std::vector<std::string> words) {
  if (words[0] == "help") {
    words.erase(words.begin());
    words.resize(1);
    words.emplace_back("--help");
  }
  const std::string& verb = words[0];
  if (!IsVerb(verb)) {
    throw Error(ErrorKind::kUsage, "expected a verb, found " + Quoted(verb), "'gantry --help' lists the verbs");
  }
  const std::string program = FindProgram(verb);
  if (program.empty()) {
    if (std::ranges::count(kVerbs, verb, &Verb::name) != 0) {
      throw Error(ErrorKind::kNotFound, "the program 'gantry-" + verb + "' is neither beside gantry nor in PATH",
                  "install all of gantry's programs in one directory");
    }
    throw Error(ErrorKind::kUsage, Quoted(verb) + " is not a verb of gantry", Suggestion(verb));
  }
  std::vector<char*> argv;
  std::string name = "gantry-" + verb;
  argv.push_back(name.data());
  for (size_t i = 1; i < words.size(); ++i) {
    argv.push_back(words[i].data());
  }
  argv.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  execv(program.c_str(), argv.data());
  ThrowErrno("execute " + Quoted(program));
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using gantry::tools::Become;
  CLI::App app("", "gantry");
  app.formatter_fn([](const CLI::App*, const std::string&, CLI::AppFormatMode) { return gantry::tools::Help(); });
  app.prefix_command();
  return gantry::tools::ToolMain(app, argc, argv, [&] {
    // As typed: the parser would drop a "--" that is meant for the verb.
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty() || words == std::vector<std::string>{"help"}) {
      std::fputs(app.help().c_str(), words.empty() ? stderr : stdout);
      return words.empty() ? static_cast<int>(gantry::ErrorKind::kUsage) : 0;
    }
    return Become(words);
  });
}
