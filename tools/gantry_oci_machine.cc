// gantry-oci-machine: what gantry-oci starts to stand for a container in a virtual machine (runner/bundle_machine.h).
// Nobody calls it by name.
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "runner/bundle_machine.h"
#include "runner/vm/attendant.h"

namespace gantry::tools {
namespace {

constexpr int kOwnFailure = 125;

int Attend(std::string_view verb, const runner::vm::AttendantOptions& options) {
  try {
    return (verb == "exec" ? runner::vm::AttendEntry(options) : runner::vm::AttendMachine(options)).code;
  } catch (const Error& error) {
    // Once there is a container, nobody waits for what we say, and its own standard error is what people look at.
    if (fcntl(runner::kAttendantFd, F_GETFD) >= 0)
      SendError(runner::kAttendantFd, error);
    else
      std::fprintf(stderr, "gantry-oci: %s\n", error.message().c_str());
    return kOwnFailure;
  }
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  const std::string_view verb = argc > 3 ? argv[1] : "";
  if ((verb != "create" && verb != "run" && verb != "exec") ||
      fcntl(gantry::runner::kAttendantFd, F_SETFD, FD_CLOEXEC) < 0) {
    std::fputs("gantry-oci-machine: gantry-oci starts this program, and nobody else\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  fcntl(gantry::runner::kAttendantInputFd, F_SETFD, FD_CLOEXEC);
  const bool terminal = argc > 4 && std::string_view(argv[4]) == "--terminal";
  return gantry::tools::Attend(verb, {.root = argv[2], .id = argv[3], .waits = verb == "create", .terminal = terminal});
}
