// A directory that is there for one test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"

namespace gantry::testing {

class TempDir {
 public:
  TempDir() {
    std::string path = ::testing::TempDir() + "gantry-test-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      ADD_FAILURE() << "mkdtemp " << path;
    }
    path_ = path;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    const size_t slash = path_.rfind('/');
    Dir::Open(path_.substr(0, slash)).RemoveTree(RelPath::Parse(path_.substr(slash + 1)));
  }

  const std::string& path() const { return path_; }
  Dir dir() const { return Dir::Open(path_); }

 private:
  std::string path_;
};

// The kind and message of the gantry::Error that `body` throws; fails the test when it throws none.
template <typename Body>
Error CaughtError(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "expected a gantry::Error";
  return Error(ErrorKind::kFailed, "no error");
}

}  // namespace gantry::testing
