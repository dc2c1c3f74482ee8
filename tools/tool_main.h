// What every gantry binary shares: flags that all have, the one place where errors are caught and printed, exit codes.
//
// A tool is a CLI::App with its options, and a function that makes the one call chain and prints. stdout is data,
// stderr is talk.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/error.h"
#include "libimage/base/progress.h"
#include "libimage/confine/confine.h"

namespace gantry::tools {

// Flags that mean the same in every binary. Filled in by ToolMain's parse.
struct CommonOptions {
  std::string root;      // --root: the store, else $GANTRY_ROOT, else the default place of the user (StoreRoot)
  bool quiet = false;    // -q, --quiet: no progress, no warnings
  bool verbose = false;  // -v, --verbose: what is done and why, on stderr
  bool print_confinement = false;  // --print-confinement: Confine prints and ends the program
};

// Adds the flags of CommonOptions. `options` must outlive the parse.
void AddCommonOptions(CLI::App& app, CommonOptions& options);

// The store's directory: --root, $GANTRY_ROOT, /var/lib/gantry for root, $XDG_DATA_HOME/gantry or
// ~/.local/share/gantry for others.
std::string StoreRoot(const CommonOptions& options);

// For programs that start containers, first of all: what a short run takes of memory it has at once. Page by page, as
// it is touched, takes the kernel several times as long.
void PrepareHeap();

// For programs that live as long as what they start: the code that ran until now goes out of memory. What is still
// needed comes back from the page cache, page by page.
void ForgetCode();

// The same of what only the loader reads, once: the tables by which it finds the functions of shared libraries, which
// are a sixth of the memory of a small program.
void ForgetSymbols();

// Parses the command line, calls `run`, and returns the exit code: what `run` returns, or the kind of the gantry::Error
// that it threw, printed as "NAME: message" and a second line with the hint. --help and --version are handled here; bad
// usage is exit 2. `own_failure` replaces the exit code of gantry's own errors (125 for run); 0 keeps DESIGN's.
int ToolMain(CLI::App& app, int argc, char** argv, const std::function<int()>& run, int own_failure = 0);

// Prints `error` as ToolMain does: what failed and why, then a line of what to do. For a failure after which the
// program goes on.
void PrintError(const Error& error);

// Thrown when a child of this program failed and has said why: ToolMain ends with its exit code and prints nothing.
struct ChildFailed {
  int exit_code;
};

// Warnings and notes of a tool, "NAME: text" on stderr. Say nothing with --quiet; Note speaks only with --verbose.
void Warn(const CommonOptions& options, std::string_view text);
void Note(const CommonOptions& options, std::string_view text);

// Gives up all but `keep` (libimage/confine), before the first byte from outside is read and before the first thread.
// What the kernel cannot do is warned about. With --print-confinement it prints `keep` and exits 0 instead.
void Confine(const CommonOptions& options, const image::Confinement& keep);

// Bars on a terminal, a plain line every few seconds elsewhere, nothing with --quiet; all on stderr.
std::unique_ptr<Progress> MakeProgress(const CommonOptions& options);

}  // namespace gantry::tools
