// A tar file whose members are read in place: one pass over its headers tells where they lie, and none of them is
// copied. Names are compared in one spelling ("./a//b", "/a/b" and "a/b" are one); they are never paths of this
// machine. Links lead to members of the same archive.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"
#include "libimage/transport/plain_file.h"
#include "libimage/transport/tar_headers.h"

namespace gantry::image {

constexpr size_t kMaxTarMembers = 100'000;
constexpr size_t kMaxTarNameBytes = 32 * 1024 * 1024;  // of all names and link targets together
constexpr size_t kMaxTarLinks = 16;                    // in a row

class TarFile {
 public:
  // Compressed files and pipes as in plain_file.h. kCorrupt for what tar_headers.h refuses, for names with "..", for
  // two members of one name (directories do not count) and for more than the bounds above.
  static TarFile Open(const std::string& path);
  TarFile(PlainFile file, std::string name);

  // As it was opened; for messages.
  const std::string& name() const { return name_; }

  // The size of a file, or of the one that a link of this name leads to; nullopt when there is no such member, or only
  // a directory. kCorrupt for a link that leads nowhere, out of the archive or round in a circle, and for a `name`
  // with "..".
  std::optional<uint64_t> Size(std::string_view name) const;

  // Whether both names are there and lead to the same file.
  bool AreSame(std::string_view name, std::string_view other) const;

  // Its bytes; null where Size is nullopt. `what` names it in errors. Thread-safe; the source may outlive this.
  std::unique_ptr<Source> OpenMember(std::string_view name, std::string what) const;

  // The whole of a small one; nullopt where Size is; kCorrupt when it is longer than `max_bytes`.
  std::optional<std::string> ReadMember(std::string_view name, size_t max_bytes) const;

 private:
  struct Place {
    EntryType type = EntryType::kFile;
    uint64_t offset = 0, size = 0;
    std::string target;  // of a link, in the one spelling of names
  };
  void Add(const TarMember& member, const TarHeaders& headers, size_t& name_bytes);
  const Place* Find(std::string_view name) const;

  std::shared_ptr<const UniqueFd> fd_;
  std::string name_;
  std::map<std::string, Place, std::less<>> members_;
};

}  // namespace gantry::image
