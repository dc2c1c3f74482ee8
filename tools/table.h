// What tools print for people on stdout: columns that line up, and text that is safe on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::tools {

// `text` with control characters as \xNN. For texts that are UTF-8 already, as everything out of JSON is.
std::string Printable(std::string_view text);

// Columns as wide as their widest cell, two spaces apart; cells are made printable.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void Add(std::vector<std::string> row);  // as many cells as the header has
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "90", "90s", "10m", "12h" or "7d" in seconds; kUsage otherwise.
uint64_t ParseSeconds(std::string_view text);

}  // namespace gantry::tools
