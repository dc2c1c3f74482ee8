// Cases in testdata/: what is read out of a document is compared with the file that lies beside it. With
// GANTRY_UPDATE_TESTDATA in the environment those files are written instead; review what git diff then shows.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "tests/support/source_dir.h"

namespace gantry::testing {

namespace fs = std::filesystem;

inline std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The entries of testdata/PLACE, sorted; fails the test when there are less than `at_least`.
inline std::vector<fs::path> Cases(const std::string& place, size_t at_least, const std::string& extension = "") {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(fs::path(SourceDir()) / "testdata" / place)) {
    if (entry.path().extension() == extension)
      out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  EXPECT_GE(out.size(), at_least) << place;
  return out;
}

inline void ExpectAsInFile(const std::string& text, const fs::path& path) {
  if (std::getenv("GANTRY_UPDATE_TESTDATA") != nullptr)
    std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(text, ReadText(path)) << path;
}

// "KIND: message", then the hint if there is one.
inline std::string Describe(const Error& error) {
  const std::string kind = error.kind() == ErrorKind::kCorrupt ? "corrupt"
                           : error.kind() == ErrorKind::kUnsupported
                               ? "unsupported"
                               : "exit " + std::to_string(static_cast<int>(error.kind()));
  return kind + ": " + error.message() + "\n" + (error.hint().empty() ? "" : error.hint() + "\n");
}

}  // namespace gantry::testing
