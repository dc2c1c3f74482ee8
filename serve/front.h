// The process of gantry-serve that talks to clients. It can start nothing, connect to nothing, and write nothing but
// the cache and the log.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "serve/http_server.h"
#include "serve/service.h"

namespace gantry::serve {

struct FrontOptions {
  HttpServerOptions http;
  ServiceOptions service;  // without a URL: the address, by which only this machine may reach it
  std::string cache;
  uint64_t cache_bytes = 0;
  std::chrono::seconds fresh_for{60};
  std::string passwords, tokens;  // files; empty: none
  std::string access_log;         // empty: standard error
  std::chrono::seconds drain{30};
};

// Serves until SIGTERM or SIGINT, which are blocked already, as SIGHUP is; then until every answer is out, or until
// there is no more time. SIGHUP reads certificate, passwords and tokens again, opens the log anew, and has the policy
// asked about everything anew; what cannot be read then stays as it was. `ready` is told the address once clients can
// come, and `confine` is called before the first byte of one is read. Returns the exit code.
int RunFront(FrontOptions options, UniqueFd kitchen, const std::function<void(const std::string& place)>& ready,
             const std::function<void()>& confine);

}  // namespace gantry::serve
