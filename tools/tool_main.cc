#include "tools/tool_main.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "libimage/base/error.h"
#include "libimage/base/stream.h"
#include "tools/progress.h"
#include "tools/table.h"

// Of the linker: where the program begins in memory, and where its code ends.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): names of the linker
extern "C" const char __executable_start;
extern "C" const char etext;
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace gantry::tools {
namespace {

std::string program_name = "gantry";
bool has_verbose = false;

bool HasVerbose(const CLI::App* app) {
  return app->get_option_no_throw("--verbose") != nullptr ||
         std::ranges::any_of(app->get_subcommands({}), [](const CLI::App* sub) { return HasVerbose(sub); });
}

// What to do about an error whose thrower knew no better.
std::string HintOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return "see '" + program_name + " --help'";
    case ErrorKind::kNotFound:
      return "check how the name is spelled";
    case ErrorKind::kRefused:
      return "'gantry verify --explain' shows every step of the decision";
    case ErrorKind::kCorrupt:
      return "mend it if it is yours; else get it again, or from someone else";
    case ErrorKind::kNetwork:
      return "check the connection, and try again";
    case ErrorKind::kUnsupported:
      return "'man " + program_name + "' says what is supported";
    default:
      return std::string("nothing half made is left") + (has_verbose ? "; --verbose says what was done before" : "");
  }
}

// The words of CLI11 in our form, which do not say of a misspelled command that it is one.
std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> rest = app.remaining();
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && app.get_require_subcommand_min() > 0 &&
      !rest.empty()) {
    return Quoted(rest.front()) + " is not a command of " + program_name;
  }
  std::string text = Printable(error.what());
  if (text.starts_with("A ")) {
    text.front() = 'a';
  }
  return text;
}

int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  PrintError(Error(ErrorKind::kUsage, UsageMessage(app, error)));
  return static_cast<int>(ErrorKind::kUsage);
}

// What was printed must have arrived: a full disk behind stdout is a failure.
void FlushOutput() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    ThrowErrno("write to standard output");
  }
}

int Guarded(const std::function<int()>& run, int own_failure) {
  try {
    const int code = run();
    FlushOutput();
    return code;
  } catch (const ChildFailed& child) {
    return own_failure != 0 ? own_failure : child.exit_code;
  } catch (const Error& error) {
    PrintError(error);
    return own_failure != 0 ? own_failure : static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    PrintError(Error(ErrorKind::kFailed, error.what()));
    return own_failure != 0 ? own_failure : 1;
  }
}

}  // namespace

void PrintError(const Error& error) {
  const std::string hint = error.hint().empty() ? HintOf(error.kind()) : error.hint();
  PrintBesideProgress(program_name + ": " + error.message() + "\n  " + hint + "\n");
}

void PrepareHeap() {
  constexpr size_t kSize = 160 * 1024;
  constexpr uintptr_t kPage = 4096;
  mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
  mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
  char* piece = static_cast<char*>(std::malloc(kSize));
  const uintptr_t before_page = -reinterpret_cast<uintptr_t>(piece) & (kPage - 1);
  // Kernels before 5.14 do not know this, and need not.
  madvise(piece + before_page, kSize - kPage, MADV_POPULATE_WRITE);
  std::free(piece);
}

void ForgetCode() {
  constexpr uintptr_t kPage = 4096;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(&__executable_start);
  const uintptr_t end = reinterpret_cast<uintptr_t>(&etext) & ~(kPage - 1);
  madvise(const_cast<char*>(&__executable_start), end - begin, MADV_DONTNEED);
}

void ForgetSymbols() {
  const auto forget = [](dl_phdr_info* object, size_t, void*) {
    for (const ElfW(Phdr) & segment : std::span(object->dlpi_phdr, object->dlpi_phnum)) {
      if (segment.p_type == PT_LOAD && segment.p_flags == PF_R && segment.p_offset == 0)
        madvise(std::bit_cast<void*>(object->dlpi_addr + segment.p_vaddr), segment.p_filesz, MADV_DONTNEED);
    }
    return 0;
  };
  dl_iterate_phdr(forget, nullptr);
}

void AddCommonOptions(CLI::App& app, CommonOptions& options) {
  app.add_option("--root", options.root, "the store [env: GANTRY_ROOT]")->type_name("DIR");
  app.add_flag("-q,--quiet", options.quiet, "no progress and no warnings");
  app.add_flag("-v,--verbose", options.verbose, "say what is done and why");
  app.add_flag("--print-confinement", options.print_confinement,
               "print what this program keeps of its rights, and exit");
}

std::string StoreRoot(const CommonOptions& options) {
  if (!options.root.empty()) {
    return options.root;
  }
  if (const char* root = std::getenv("GANTRY_ROOT"); root != nullptr && *root != '\0') {
    return root;
  }
  if (geteuid() == 0) {
    return "/var/lib/gantry";
  }
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/') {
    return std::string(data) + "/gantry";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.local/share/gantry";
  }
  throw Error(ErrorKind::kFailed, "no place for the store: neither GANTRY_ROOT nor HOME is set", "give --root DIR");
}

int ToolMain(CLI::App& app, int argc, char** argv, const std::function<int()>& run, int own_failure) {
  std::signal(SIGPIPE, SIG_IGN);
  // The blocks of streams, and all that is larger, go back to the system when they are done with. Left alone, the
  // heap comes to keep them, and each thread its own.
  mallopt(M_MMAP_THRESHOLD, kBlockBytes);
  program_name = app.get_name();
  has_verbose = HasVerbose(&app);
  app.set_version_flag("--version", program_name + " " GANTRY_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return own_failure != 0 ? (UsageError(app, error), own_failure) : UsageError(app, error);
  }
  const int code = Guarded(run, own_failure);
#ifdef NDEBUG
  // All that is left is to take apart what the process has, and that the kernel does faster. Other builds look for
  // leaks.
  std::fflush(nullptr);
  _exit(code);
#endif
  return code;
}

void Warn(const CommonOptions& options, std::string_view text) {
  if (!options.quiet) {
    PrintBesideProgress(program_name + ": " + std::string(text) + "\n");
  }
}

void Note(const CommonOptions& options, std::string_view text) {
  if (options.verbose) {
    Warn({}, text);
  }
}

void Confine(const CommonOptions& options, const image::Confinement& keep) {
  if (options.print_confinement) {
    std::fputs(image::Describe(keep).c_str(), stdout);
    FlushOutput();
    std::exit(0);
  }
  for (const std::string& missing : image::Confine(keep)) {
    Warn(options, missing);
  }
}

}  // namespace gantry::tools
