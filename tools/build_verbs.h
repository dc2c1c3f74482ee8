// The verbs of gantry-build, as the command line has them and as a script has them: each is a subcommand that leaves an
// action behind, which the caller performs.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/build_session.h"

namespace gantry::tools {

using BuildAction = std::function<int(BuildSession& session)>;

// The words of a command line: those before "--", which are parsed, and those behind it, which are a command to
// execute.
struct SplitLine {
  std::vector<std::string> words, command;

  explicit SplitLine(std::vector<std::string> all);
};

// Adds every verb but `script`. `action` gets what the one that is parsed means; all must outlive it.
void AddBuildVerbs(CLI::App& app, const std::vector<std::string>& command, BuildAction& action);

// What is done with an image that is finished, wherever it comes from.
struct WriteRequest {
  std::string destination;
  std::string format;      // "aci", "oci", "docker" or empty
  std::string sign, as;    // --sign, --as
  std::string provenance;  // a file; empty: none
  bool squash = false;
  bool overwrite = false;
};
void AddWriteOptions(CLI::App& app, WriteRequest& request);
void WriteImage(BuildSession& session, const image::Draft& draft, const image::BlobDirectory& blobs,
                const WriteRequest& request);

}  // namespace gantry::tools
