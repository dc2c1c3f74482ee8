// What the children of gantry-serve do, one order each: an App Container Image out of a registry, images in another
// form, the tags of a repository, a signature, what is no longer wanted out of the store.
#pragma once

#include <string>

#include "serve/order.h"
#include "serve/request.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

struct MakeOptions {
  CommonOptions common;
  PolicyOptions policy;
  serve::Upstreams upstreams;
  std::string directory;   // of the cache
  std::string host;        // with which the names of App Container Images begin
  std::string registries;  // --registries.d
  std::string platforms;   // of what an index lists; empty: all
  std::string sign_key, sign_home, passphrase_file;
  size_t threads = 1;
};

// In a process of its own: answers over `channel`, with an Error as SendError does. Returns the exit code.
int Make(const serve::Order& order, const MakeOptions& options, int channel);

}  // namespace gantry::tools
