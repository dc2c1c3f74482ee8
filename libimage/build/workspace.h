// Where a build is between two commands: a directory with the draft, the layers that were made, and a place for the
// step that is being made.
//
//   lock        flock(2)ed by the command that works here; a second one is refused
//   draft.json  replaced whole after each step
//   blobs/      the layers that are not the base's, by digest (blob_directory.h)
//   step/       what a step fills; emptied before the next. What a crash left there is part of nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/build/blob_directory.h"
#include "libimage/build/draft.h"

namespace gantry::image {

constexpr size_t kMaxDraftBytes = 16 * 1024 * 1024;

class Workspace {
 public:
  // Makes one at `path`. kFailed where a build is in progress, telling what is there.
  static Workspace Begin(const std::string& path, Draft draft);
  // kNotFound where none was begun; kFailed while another command works there.
  static Workspace Open(const std::string& path);
  // In a directory that is removed with this; nothing is saved there.
  static Workspace Temporary(const Dir& in, Draft draft);

  Workspace(Workspace&& other) noexcept;
  Workspace& operator=(Workspace&&) = delete;
  ~Workspace();

  Draft& draft() { return draft_; }
  const Draft& draft() const { return draft_; }
  void Save() const;  // whole or not at all, also when the machine crashes

  const BlobDirectory& blobs() const { return blobs_; }
  void UseBlobs(BlobDirectory blobs) { blobs_ = std::move(blobs); }  // in place of its own
  const Dir& dir() const { return dir_; }

  // "step/NAME", empty and new.
  Dir NewStep(const std::string& name) const;
  void RemoveSteps() const;
  bool interrupted() const { return interrupted_; }  // a step was not finished when this was opened

  // Discards the build. The last call.
  void Remove();

 private:
  Workspace(std::string path, Dir dir, UniqueFd lock, Draft draft);

  std::string path_;
  Dir dir_;
  UniqueFd lock_;
  Draft draft_;
  BlobDirectory blobs_;
  bool interrupted_ = false;
  bool temporary_ = false;
};

}  // namespace gantry::image
