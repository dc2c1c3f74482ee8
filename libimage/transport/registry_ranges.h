// One large blob by several requests at once, each for a part of it. Private to registry.cc.
//
// The first part goes alone: a server that does not keep to ranges shows it there. The bytes are handed on in order, as
// if one request had brought them; parts that come early wait in memory, kMaxConnections of them at most.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr uint64_t kRangeBytes = 8 * 1024 * 1024;      // of one request
constexpr uint64_t kMinRangedBytes = 4 * kRangeBytes;  // of a blob that is worth it

class RangedDownload {
 public:
  RangedDownload(RegistryClient& registry, const Descriptor& blob, std::string what, HttpClient::BodyWriter write);
  RangedDownload(const RangedDownload&) = delete;
  RangedDownload& operator=(const RangedDownload&) = delete;
  ~RangedDownload();  // cancels what runs

  // Fetches from the byte `first` to the end. False when the server does not keep to ranges: then nothing was written.
  bool Run(uint64_t first);

 private:
  struct Part {
    uint64_t end;
    int number = 0;         // of its transfer
    std::string sent = {};  // the Authorization header
    bool asked_again = false;
    uint64_t got = 0;
    std::string waiting = {};
    bool complete = false;
  };

  void Start(uint64_t begin, Part& part);
  void Take(uint64_t begin, std::span<const std::byte> bytes);
  void Complete(uint64_t begin);
  uint64_t Await();

  RegistryClient& registry_;
  const Descriptor blob_;
  const std::string what_;
  const HttpClient::BodyWriter write_;
  std::map<uint64_t, Part> parts_;  // by where they begin
  uint64_t head_ = 0;               // the part whose bytes are handed on as they come
  bool keeps_to_ranges_ = false;
};

}  // namespace gantry::image
