#include "tests/support/debian_registry.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "libimage/base/fd.h"

namespace gantry::testing {

bool DebianRegistry::IsInstalled() { return access("/usr/bin/docker-registry", X_OK) == 0; }

DebianRegistry::DebianRegistry() {
  const std::string config = temp_.path() + "/config.yml";
  const std::string log = temp_.path() + "/log";
  std::ofstream(config) << "version: 0.1\nlog: {level: info}\nstorage:\n  filesystem: {rootdirectory: " << temp_.path()
                        << "/data}\n  delete: {enabled: true}\nhttp: {addr: 127.0.0.1:0, relativeurls: true}\n";
  const UniqueFd out(open(log.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  process_.emplace(Process::Start({"/usr/bin/docker-registry", "serve", config},
                                  {{out.get(), STDOUT_FILENO}, {out.get(), STDERR_FILENO}}));
  constexpr std::string_view kSays = "listening on ";
  for (int tries = 0; tries < 400; ++tries) {
    std::stringstream text;
    text << std::ifstream(log).rdbuf();
    const std::string said = text.str();
    if (const size_t at = said.find(kSays); at != std::string::npos) {
      const size_t begin = at + kSays.size();
      host_ = said.substr(begin, said.find_first_not_of("0123456789.:", begin) - begin);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  throw std::runtime_error("docker-registry did not start");
}

}  // namespace gantry::testing
