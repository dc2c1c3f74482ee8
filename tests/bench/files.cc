// bench_files COUNT: an archive of so many empty files, a thousand in each directory, on standard output.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"

namespace {

using namespace gantry;
using image::EntryType;

constexpr unsigned kFilesOfADirectory = 1000;

std::string Numbered(const char* prefix, unsigned number) { return prefix + std::to_string(number); }

void Write(unsigned count) {
  const auto out = FdSink(STDOUT_FILENO, "standard output");
  image::ArchiveWriter archive(*out);
  std::string directory;
  for (unsigned i = 0; i < count; ++i) {
    if (i % kFilesOfADirectory == 0) {
      directory = Numbered("directory-", i / kFilesOfADirectory);
      archive.Add({.name = directory, .type = EntryType::kDirectory, .mode = 0755});
    }
    archive.Add({.name = directory + "/" + Numbered("file-", i % kFilesOfADirectory), .mode = 0644});
  }
  archive.Finish();
  out->Finish();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) {
      throw std::runtime_error("usage: bench_files COUNT");
    }
    Write(static_cast<unsigned>(std::stoul(argv[1])));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_files: " << error.what() << "\n";
    return 1;
  }
}
