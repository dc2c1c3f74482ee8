// OCI image layouts (image-spec, image-layout.md), read and written: `oci:DIR[:REF]` in a directory,
// `oci-archive:FILE[:REF]` in one tar.
//
// Reading trusts nothing: every document has a bound, every blob is checked against the digest and size that led to it
// while it streams, no symbolic link below the directory is followed, and those in a tar lead to its own members.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/image_sink.h"
#include "libimage/transport/oci_layout_files.h"

namespace gantry::image {

constexpr size_t kMaxLayoutIndexBytes = 64 * 1024 * 1024;

class OciLayout : public Blobs {
 public:
  // kNotFound when `directory` is no layout, kUnsupported when it is one of another version.
  static std::unique_ptr<OciLayout> OpenAt(const std::string& directory);
  // The same in a tar (tar_file.h); its blobs are read in place.
  static std::unique_ptr<OciLayout> OpenArchive(const std::string& file);

  // The image that `ref` names: by its annotation, or "ALGORITHM:HEX" of its manifest or index. An empty ref is the
  // only image. Where several manifests bear the name, or an index does, the platform chooses; of entries that tell
  // none, the first that leads to an image. kNotFound tells what there is; kUsage when an empty ref is ambiguous, or
  // where of several artifacts one would have to be chosen; kUnsupported for an artifact.
  FetchedImage Load(const std::string& ref, const Platform& platform) const;
  // The same of either.
  Fetched LoadAny(const std::string& ref, const Platform& platform) const;

  // What index.json lists under `ref`, manifests and indexes; all of it for an empty one. kNotFound as above.
  std::vector<Descriptor> Listed(const std::string& ref) const;

  // What in index.json refers to other manifests: by its subject, in the index behind a tag for that, or by cosign's
  // tags (signature_manifest.h), then with the tag in kRefNameAnnotation. By whom it is about.
  std::map<Digest, std::vector<Descriptor>> Referrers() const;

  // The names in index.json, sorted.
  std::vector<std::string> Refs() const;

  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

 private:
  OciLayout(std::unique_ptr<LayoutRoot> root, Index index) : root_(std::move(root)), index_(std::move(index)) {}
  static std::unique_ptr<OciLayout> OpenIn(std::unique_ptr<LayoutRoot> root, const std::string& hint);
  struct Document {
    Descriptor listed;
    std::string bytes;
    ManifestOrIndex parsed;
  };
  Document Choose(const Index& from, const Platform& platform) const;
  Document Read(const Descriptor& listed) const;
  std::string WhatIs(const Descriptor& listed) const;
  std::string ReadSmall(const Descriptor& blob, size_t max_bytes, std::string_view what) const;
  Fetched LoadManifest(Document document, std::optional<Digest> through) const;

  std::unique_ptr<LayoutRoot> root_;
  Index index_;
};

// Adds images to a layout. The layout appears, or changes, at Commit and all at once: a new one is built in a hidden
// directory beside it and renamed (what a killed process left of such a directory the next one removes); in an existing
// one blobs get their names when they are whole, and index.json is replaced last, under a lock. Destroyed without
// Commit, it leaves no name behind.
class OciLayoutWriter : public ImageSink {
 public:
  // `directory` may be absent, empty, or a layout; kFailed when it is something else. With `overwrite` names move from
  // what has them.
  static std::unique_ptr<OciLayoutWriter> Begin(const std::string& directory, bool overwrite = false);

  // Throws kFailed when the layout has something named `ref` that may not be replaced: to be asked before the work.
  // Name and Commit allow what is the same manifest.
  virtual void RequireFree(const std::string& ref) const = 0;
};

// A layout in one tar, a new file. Layers stream into it one after the other, and nothing is seen before Commit.
// kFailed when the file exists and not `overwrite`.
std::unique_ptr<ImageSink> WriteOciArchive(const std::string& file, bool overwrite);

}  // namespace gantry::image
