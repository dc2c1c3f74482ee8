// A fetch by appc name in two processes, as fetcher.h has it for registries: one has the network, finds the image
// (discovery.h) and hands on what it gets; the other decides.
//
// The one with the network writes nothing but its socket. Pages and files come over https; over plain http only from
// loopback or where the options allow it, and never where a page or a redirect leads there from https. No credentials
// are sent.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/base/progress.h"
#include "libimage/base/stream.h"
#include "libimage/model/reference.h"
#include "libimage/transport/http.h"

namespace gantry::image {

constexpr uint64_t kMaxFetchedAciBytes = uint64_t{64} << 30;

struct AppcPlan {
  AppcReference wanted;  // with os and arch: WithPlatform
  HttpOptions http;
  std::function<void()> confine;  // run in the forked process, before the first byte comes from the network
};

// What was found; nobody vouches for it.
struct AppcFound {
  std::optional<std::string> signature;  // FILE.asc, where there is one
  std::string place;                     // of the file, for people
};

class AppcFetcher {
 public:
  // For single-threaded callers.
  static AppcFetcher Start(AppcPlan plan);

  // Once: nothing was asked for before. The bytes of the file go to `into`. Throws the Error of the other process, if
  // it had one: kNotFound when no page or no file is there.
  AppcFound Receive(Sink& into);

 private:
  AppcFetcher(UniqueFd channel, Process process) : channel_(std::move(channel)), process_(std::move(process)) {}

  UniqueFd channel_;
  Process process_;
};

}  // namespace gantry::image
