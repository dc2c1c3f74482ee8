// What the writers of archives have in common: blobs as members of one tar, each once and in the order they come.
// Private to transport/.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "libimage/base/error.h"
#include "libimage/model/image_sink.h"
#include "libimage/transport/new_file.h"
#include "libimage/transport/tar_file_writer.h"

namespace gantry::image {

class ArchiveSink : public ImageSink {
 public:
  ArchiveSink(const std::string& file, bool overwrite) : file_(file, overwrite), tar_(file_.fd(), Quoted(file)) {}

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override;
  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override;

 protected:
  // The member for a blob of this digest and type; empty type: a layer that is being made.
  virtual std::string MemberFor(const Digest& digest, std::string_view media_type) const = 0;

  bool Has(const Digest& blob) const { return there_.contains(blob); }
  TarFileWriter& tar() { return tar_; }
  // Ends the archive and gives it its name.
  void Close();

 private:
  class Made;
  NewFile file_;
  TarFileWriter tar_;
  std::set<Digest> there_;
};

}  // namespace gantry::image
