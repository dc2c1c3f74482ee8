// Words that are typed, secrets among them. Never from the command line, which every user of the machine can read.
#pragma once

#include <string>

namespace gantry::tools {

constexpr size_t kMaxSecretBytes = 64 * 1024;

enum class Echo { kOn, kOff };

// Asks on the terminal of this process. kFailed without one; echoing is as it was when it returns or throws.
std::string ReadLine(const std::string& prompt, Echo echo);

// All of standard input, without the end of its last line.
std::string ReadSecretFromStdin();

}  // namespace gantry::tools
