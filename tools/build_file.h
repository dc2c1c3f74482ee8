// gantry-build FILE: a Containerfile, executed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tools/build_session.h"
#include "tools/build_verbs.h"

namespace gantry::tools {

struct FileRequest {
  std::string file;                    // or the directory that has it
  std::string context;                 // empty: the directory of the file
  std::string target;                  // a stage; empty: the last
  std::string cache;                   // a directory; empty: the user's
  std::vector<std::string> arguments;  // --build-arg
  bool no_cache = false;
  bool net = false;
  EngineOptions engine;  // of RUN
  WriteRequest write;    // without a destination nothing is written
};

void AddFileOptions(CLI::App& app, FileRequest& request);

int BuildFile(BuildSession& session, const FileRequest& request);

}  // namespace gantry::tools
