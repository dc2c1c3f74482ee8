// What the two lasting processes of gantry-serve say to each other: the front, which talks to clients, orders; the
// kitchen, which can start programs, has it made and answers. The front hears what strangers send, so the kitchen takes
// no word of it on trust: an order names things by the names of clients, and what they are upstream, and which files
// they become, the kitchen finds out for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/message.h"
#include "libimage/model/descriptor.h"

namespace gantry::serve {

// Where things are below the directory of the cache.
constexpr std::string_view kStoreDir = "store";      // a store of images, as gantry-store(5) has it
constexpr std::string_view kFilesDir = "files";      // what was made: NAME.aci, NAME.aci.asc, the layout NAME.oci
constexpr std::string_view kRecordsDir = "records";  // NAME.json, one for each thing that is there
constexpr std::string_view kNewDir = "new";          // what is being made: ID.0, ID.1 when it began again; ID.oci

struct Order {
  enum class Kind : char { kAci = 'a', kImage = 'i', kTags = 't', kSign = 's', kClean = 'c' };
  Kind kind = Kind::kAci;
  uint64_t id = 0;
  std::string name;       // of a repository here; its upstream is told by it
  std::string reference;  // tag or digest; of kSign the name of the file
  std::string form;       // Form::ToString, of kImage
  std::string platform;   // of kAci
  std::string aci_name;   // of kAci: what clients call the image
  // The digest upstream of what is there already: then nothing is made anew; or empty. Of kSign the ID of the image,
  // and from the kitchen on, which alone knows it, the digest of the file.
  std::string known;
  std::vector<std::string> names = {};  // of kClean: names in the store that go

  Message ToMessage() const;
  static std::optional<Order> FromMessage(const Message& message);
};

struct Answer {
  enum class Kind : char {
    kBegun = 'b',   // the policy allowed it, and its bytes are coming
    kAgain = 'r',   // it had to begin again, in the other file
    kDone = 'd',    // `text` is the Record
    kFailed = 'x',  // `text`, `hint` and `error` say why
  };
  Kind kind = Kind::kDone;
  uint64_t id = 0;
  std::string text;
  std::string hint = {};
  ErrorKind error = ErrorKind::kFailed;

  Message ToMessage() const;
  static std::optional<Answer> FromMessage(const Message& message);
};

constexpr size_t kMaxOrderNames = 1000;
constexpr MessageBounds kOrderBounds{4096, 16 * 1024 * 1024, "the other half of the server"};

// What a finished order left behind.
struct Record {
  std::string source;      // digest upstream; what `known` is compared with
  bool unchanged = false;  // it is the one that was known, and nothing was made
  uint64_t size = 0;       // of the file; of an image in another form, of what it was made of
  // kAci.
  int file = 0;          // which of the two
  std::string image_id;  // "sha512-HEX"
  std::string digest;    // of the file, by whoever wrote it
  // kImage.
  std::optional<image::Descriptor> top = {};  // what the name leads to
  std::vector<image::Descriptor> manifests = {}, blobs = {};
  struct Referrers {
    Digest subject;
    std::vector<image::Descriptor> list;
  };
  std::vector<Referrers> referrers = {};
  std::vector<std::string> names = {};  // in the store, which keep it from being collected
  // kTags.
  std::vector<std::string> tags = {};

  std::string ToJson() const;
  static Record Parse(std::string_view text);  // kCorrupt
};

}  // namespace gantry::serve
