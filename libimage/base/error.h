// The one exception type of gantry, and the exit codes that every binary shares.
//
// An Error says what failed, on what, and why (message), then what to do (hint). Messages are lower case, name the
// problem first, quote names and carry no full stop. A negative answer that is an ordinary outcome (a policy refusal,
// a cache miss) is a value, not an Error. Libraries throw and never print; tools/tool_main catches once.
#pragma once

#include <cerrno>
#include <exception>
#include <string>
#include <string_view>

namespace gantry {

// What the caller can do about a failure. The values are the exit codes of every binary (gantry(1), EXIT STATUS).
enum class ErrorKind : int {
  kFailed = 1,       // the system said no: disk full, permission, a helper program failed
  kUsage = 2,        // the command line cannot mean anything
  kNotFound = 3,     // the named thing does not exist
  kRefused = 4,      // the trust policy does not allow it
  kCorrupt = 5,      // input does not keep to its format, its digest or its bounds
  kNetwork = 6,      // the other side could not be reached or broke its protocol
  kUnsupported = 7,  // well formed, but not something this gantry or this machine can do
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // The same error with "`where`: " put before the message, for a caller that knows more than the thrower.
  Error WithContext(std::string_view where) const;

 private:
  ErrorKind kind_;
  std::string message_;
  std::string hint_;
};

// Throws what errno says about `what` ("open '/x'"): ENOENT and ENOTDIR are kNotFound, ENOSYS and EOPNOTSUPP are
// kUnsupported, the rest kFailed. A full disk and a permission get a hint.
[[noreturn]] void ThrowErrno(std::string_view what, int error = errno);

// `text` in single quotes, with control bytes and bytes that are not UTF-8 as \xNN and at most 200 bytes of it: safe
// to print on a terminal whatever the input was.
std::string Quoted(std::string_view text);

}  // namespace gantry
