// The metadata service of one pod: a process of its own, without any right but to answer on one socket, that ends with
// the runner.
#pragma once

#include <string>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/metadata.h"

namespace gantry::runner {

class MetadataServer {
 public:
  // `listener` is a TCP socket of the pod's network that listens. For single-threaded callers.
  static MetadataServer Start(const PodMetadata& metadata, const UniqueFd& listener);

  const std::string& url() const { return url_; }  // what AC_METADATA_URL is

 private:
  MetadataServer(std::string url, UniqueFd channel, gantry::Process process)
      : url_(std::move(url)), channel_(std::move(channel)), process_(std::move(process)) {}
  std::string url_;
  UniqueFd channel_;
  gantry::Process process_;  // killed with this
};

}  // namespace gantry::runner
