#include <optional>
#include <string>

#include "libimage/transport/tar_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_file.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

using namespace gantry::image;

// Every member is found by its name and lies within the file.
void CheckMembers(std::string_view text) {
  const gantry::image::PlainFile file = gantry::testing::MemoryFile(text);
  const TarFile tar(gantry::testing::MemoryFile(text), "input");
  TarHeaders headers(file.fd.get(), file.size, "input");
  while (const auto member = headers.Next()) {
    Require(member->offset <= text.size() && member->size <= text.size() - member->offset);
    std::optional<std::string> content;
    if (!Accepts([&] { content = tar.ReadMember(member->name, text.size()); }))
      continue;
    if (member->type == EntryType::kFile)
      Require(content == text.substr(member->offset, member->size));
    if (member->type != EntryType::kDirectory)
      Require(content.has_value() && tar.Size(member->name) == content->size());
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] { CheckMembers(gantry::fuzz::Text(data, size)); });
  return 0;
}
