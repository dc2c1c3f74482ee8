// What the container finds in /etc that the image cannot know.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runner/config.h"
#include "runner/net/attached_network.h"
#include "runner/setup.h"

namespace gantry::runner {

using EtcFiles = std::vector<std::pair<std::string, std::string>>;  // name in /etc, content

// config.hostname, else the host's with the host's network, else the first 12 digits of the UUID.
std::string ChooseHostname(const RunConfig& config, const std::string& uuid);

// hostname and hosts; and resolv.conf where there is a network, or something is asked of it. With the host's network
// the host's are the base. `network` is null where none is attached.
EtcFiles MakeEtcFiles(const RunConfig& config, const std::string& hostname, const AttachedNetwork* network);

// The same for a child that is made before they are known: in memory that it shares with us.
class SharedEtcFiles {
 public:
  static constexpr size_t kCount = 4;  // unused ones have no name

  SharedEtcFiles();
  SharedEtcFiles(const SharedEtcFiles&) = delete;
  SharedEtcFiles& operator=(const SharedEtcFiles&) = delete;
  ~SharedEtcFiles();

  const EtcFile* files() const;
  void Fill(const EtcFiles& files);  // once

 private:
  void* memory_ = nullptr;
};

}  // namespace gantry::runner
