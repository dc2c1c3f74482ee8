// The head of a request as its bytes come: whether its lines are such that everybody reads them alike, and whether a
// body follows. A server that reads past a line which another on the way takes for a length, or that drops such a one,
// takes a body for the next request (request smuggling, RFC 9112, 11.2).
#pragma once

#include <string>
#include <string_view>

namespace gantry::serve {

constexpr size_t kMaxRangeBytes = 1024;  // of a Range, which is matched by recursion

class RequestHead {
 public:
  // The next byte. False when it ends a line that is no header: without CR LF, or with a name that is no token, or with
  // a control character (RFC 9112, 2.2, 5; RFC 9110, 5.5), or with a Range that is too long. The request line is looked
  // at by others.
  bool Take(char byte);

  // What the lines until now say: other than that there is none, in words of which nobody can think otherwise.
  bool has_body() const { return has_body_; }

 private:
  bool TakeHeader(std::string_view line);

  std::string line_;
  bool in_headers_ = false;
  bool has_length_ = false;
  bool has_body_ = false;
};

}  // namespace gantry::serve
