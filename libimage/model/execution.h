// What an image executes, in one spelling, whatever wrote its configuration: what the runner starts from and what the
// identity of an image covers (gantry-identity(5), "The document").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/config.h"

namespace gantry::image {

constexpr int kDefaultStopSignal = 15;  // SIGTERM

struct Execution {
  std::vector<std::string> args;  // entrypoint, then cmd
  // "NAME=value" in the order in which the names come first, each with its last value. What has no '=' or no name is
  // nothing that a program could read, and left out.
  std::vector<std::string> env;
  std::string cwd;  // CleanAbsolute; "/" when the image has none
  // As the image names it, but that root is always "0:0": an ACI names a group in any case.
  std::string user;
  std::vector<std::string> volumes;  // CleanAbsolute, sorted, each once
  std::vector<std::string> ports;    // "80/tcp", the protocol in lower case, sorted, each once
  int stop_signal = kDefaultStopSignal;

  // kCorrupt for a stop signal that is none.
  static Execution Of(const ImageConfig& config);
};

// Absolute, without ".", ".." and double slashes, by text alone: links are the kernel's business. A relative path (old
// builders wrote them) is read from the root, as Docker does.
std::string CleanAbsolute(std::string_view path);

// "SIGQUIT", "quit", "3", "SIGRTMIN+3", "SIGRTMAX-1" as a number, which is that of x86 and ARM everywhere; nullopt for
// anything else.
std::optional<int> ParseSignal(std::string_view text);

}  // namespace gantry::image
