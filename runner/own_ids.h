// Ids of the host that one pod has for itself alone (--userns=auto as root).
//
// They come out of the ranges of the user "containers" in /etc/subuid and /etc/subgid. Who has which is said by locks
// on bytes of one file, /run/gantry/ids, a byte for each id: they hold for all stores of the host, two claims can never
// overlap, and they go with the last process that has the descriptor, however it ends. So nothing has to be collected.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "runner/userns.h"

namespace gantry::runner {

constexpr uint32_t kOwnIdsDefault = 65536;  // all that images are made of
constexpr uint32_t kOwnIdsLeast = 1000;
constexpr const char* kOwnIdsUser = "containers";

class OwnIds {
 public:
  // The lowest `count` uids and gids that nobody has. kUnsupported when there are no ranges as large as that, kFailed
  // when all are taken.
  static OwnIds Claim(uint32_t count);
  // The same out of these texts of the two files, by the locks on `file`.
  static OwnIds Claim(uint32_t count, std::string_view subuid, std::string_view subgid, UniqueFd file);

  const IdMap& map() const { return map_; }
  int fd() const { return file_.get(); }  // whoever has it open holds the claim

 private:
  OwnIds(UniqueFd file, IdMap map) : file_(std::move(file)), map_(std::move(map)) {}
  UniqueFd file_;
  IdMap map_;
};

}  // namespace gantry::runner
