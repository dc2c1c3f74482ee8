// bench_filter CONFIG: the filter of system calls that a bundle's config.json asks for, as the kernel takes it, on
// stdout.
#include <unistd.h>

#include <cstdio>
#include <span>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/filter_compiler.h"
#include "runner/spec.h"

int main(int argc, char** argv) {
  using namespace gantry;
  try {
    if (argc != 2)
      throw Error(ErrorKind::kUsage, "expected CONFIG");
    const runner::Spec spec = runner::Spec::Parse(ReadFile(argv[1], runner::kMaxSpecBytes), argv[1]);
    if (spec.seccomp) {
      const std::vector<sock_filter> filter = runner::CompileFilter(*spec.seccomp);
      WriteFull(STDOUT_FILENO, std::as_bytes(std::span(filter)), "standard output");
    }
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_filter: %s\n", error.message().c_str());
    return 1;
  }
}
