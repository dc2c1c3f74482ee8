// The sound image that hostile ones are made of, and the ways to bend its parts; for hostile_images.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/media_type.h"
#include "tests/support/tar_builder.h"
#include "tests/tools/hostile_images.h"

namespace gantry::testing {

using Bend = std::function<void(std::string&)>;
using Files = std::map<std::string, std::string>;  // of a layout or an archive, by name

// What is done to a sound image on its way.
struct Bends {
  TarBuilder tree = TarBuilder().Dir("etc").File("etc/motd", "hello");
  std::optional<std::string> tar = {};  // of the layer, in place of the tree's
  image::Compression compression = image::Compression::kGzip;
  Bend layer = {};  // its compressed bytes
  Bend config = {}, manifest = {}, index = {}, layout = {};
  std::function<void(Files&)> files = {};
};

// The files of a layout with that image, and an archive of such files.
Files Layout(const Bends& bends);
TarBuilder Archive(const Files& files);

// Parts of one.
std::string Compressed(const std::string& bytes, image::Compression compression);
std::string ConfigText(const std::string& tar);
std::string DescriptorOf(std::string_view type, const std::string& bytes);
std::string IndexText(const std::string& entries);
std::string BlobName(const std::string& bytes);

Bend Cut(size_t percent);  // which is left
Bend Append(std::string more);
Bend Become(std::string other);
Bend Member(std::string more);                   // before the closing brace
Bend Replace(std::string what, std::string by);  // where it comes first
Bend Number(std::string key, std::string by);    // behind `key`, where that stands last

std::string Repeated(const std::string& text, size_t count);

// A file that claims a size, and so many MiB of zeros, which are little once compressed.
std::string Bomb(image::Compression compression, uint64_t claimed, int mebibytes);

// Kinds of archives: oci-archive:, docker-archive:, aci:.
void AddArchives(std::vector<HostileKind>& kinds);

}  // namespace gantry::testing
