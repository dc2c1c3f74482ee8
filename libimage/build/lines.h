// Lines as scripts and Containerfiles have them: comments left out, continued ones joined.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

// Lines that follow a line as they stand, up to one that is the delimiter: "<<END", and "<<-END" without their tabs.
struct HereDocument {
  std::string delimiter;
  bool strips_tabs = false;
  std::string content = {};  // without the delimiter
};

struct LogicalLine {
  size_t number;  // where it begins, from 1
  std::string text;
  std::vector<HereDocument> documents = {};
};

// A line whose first character beside spaces is "#" is a comment, also between continued lines; empty lines are none.
// `documents` says which documents follow a line; none of any, when it is empty. kCorrupt for more than `max_bytes`,
// for a NUL byte, and for a document without an end.
using DocumentsOf = std::function<std::vector<HereDocument>(const std::string& line)>;
std::vector<LogicalLine> JoinLines(std::string_view text, char escape, size_t max_bytes,
                                   const DocumentsOf& documents = {});

}  // namespace gantry::image
