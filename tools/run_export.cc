// gantry run export.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/path_text.h"
#include "libimage/store/store.h"
#include "runner/pod_export.h"
#include "tools/run_ids.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"

namespace gantry::tools {
namespace {

struct ExportOptions {
  VerbOptions verb;
  std::string app, output;
};

void Write(const ExportOptions& options, const Dir& pods, const runner::PodRecord& pod, const std::string& app,
           int into) {
  const auto store = image::Store::OpenReadOnly(StoreRoot(*options.verb.common));
  if (!store)
    throw Error(ErrorKind::kNotFound, "there is no store");
  runner::ExportApp(pods, pod, app, *store, MapOfUser(*options.verb.common), into);
}

int Export(const ExportOptions& options) {
  const Dir pods = OpenPods(*options.verb.common);
  const runner::PodRecord pod = NamedPod(pods, options.verb);
  RefuseMachine(pod, "exported");
  const std::string app = MeantApp(pod, options.verb, options.app).name;
  if (options.output.empty()) {
    if (isatty(STDOUT_FILENO) != 0 || options.verb.json)
      throw Error(ErrorKind::kUsage, "the tar needs a place to go to", "give --output FILE, or redirect the output");
    Write(options, pods, pod, app, STDOUT_FILENO);
    return 0;
  }
  const Dir dir = Dir::Open(DirectoryOf(options.output));
  StagedFile file(dir);
  Write(options, pods, pod, app, file.fd());
  struct stat status {};
  fstat(file.fd(), &status);
  file.Commit(RelPath::Parse(options.output.substr(options.output.rfind('/') + 1)));
  if (options.verb.json)
    PrintJson(
        json::Object{{"uuid", pod.uuid()}, {"app", app}, {"file", options.output}, {"bytes", int64_t{status.st_size}}});
  return 0;
}

}  // namespace

void AddExportVerb(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions) {
  const auto options = std::make_shared<ExportOptions>();
  options->verb.common = &common;
  CLI::App* verb =
      AddVerb(app, "export", "write the root file system of an app, with its changes, as a tar", "POD", options->verb);
  verb->add_option("--app", options->app, "which, of several")->type_name("NAME");
  verb->add_option("-o,--output", options->output, "where to; default: standard output")->type_name("FILE");
  actions.push_back({verb, [options] { return Export(*options); }});
}

}  // namespace gantry::tools
