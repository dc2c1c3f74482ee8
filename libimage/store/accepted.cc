// What was accepted under which reference: the memory behind neverOlder. It outlives names and images, so that nothing
// older comes in once they are gone.
#include <fcntl.h>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxAcceptedBytes = 16 * 1024;
constexpr const char* kDirectory = "accepted";

RelPath PathOf(const std::string& reference) {
  return RelPath::Parse(std::string(kDirectory) + "/" + Digest::Of(reference).hex());
}

}  // namespace

std::optional<int64_t> LocalStore::NewestAccepted(const std::string& reference) const {
  const RelPath path = PathOf(reference);
  const std::optional<UniqueFd> fd = root_->TryOpenBeneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd)
    return std::nullopt;
  const std::string what = Quoted(path.str()) + " in " + Quoted(root_->name());
  const json::Value document = json::Parse(ReadAll(fd->get(), kMaxAcceptedBytes, what), what);
  const json::Cursor root(document, what);
  root.OnlyKeys({"reference", "signed"});
  if (root.At("reference").String() != reference)
    root.At("reference").Fail("expected " + Quoted(reference));
  return root.At("signed").Integer(INT64_MIN, INT64_MAX);
}

void LocalStore::NoteAccepted(const Accepted& accepted) {
  RequireWritable();
  const FileLock lock(*root_, kIndexLock, LockMode::kExclusive);
  const std::optional<int64_t> newest = NewestAccepted(accepted.reference);
  if (newest && *newest > accepted.signed_at) {
    throw Error(ErrorKind::kRefused,
                "image " + Quoted(accepted.reference) + " is refused: one that was signed later was accepted meanwhile",
                "get the current one");
  }
  if (newest == accepted.signed_at)
    return;
  const RelPath path = PathOf(accepted.reference);
  const json::Object document = {{"reference", accepted.reference}, {"signed", accepted.signed_at}};
  root_->MakeDirs(*path.Parent()).WriteFileAtomically(RelPath::Parse(path.Name()), json::Print(document));
}

}  // namespace gantry::image
