// What the two processes of a fetch say to each other. Private to fetcher.cc and fetch_network.cc.
#pragma once

#include "libimage/base/message.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"
#include "libimage/transport/found_signatures.h"

namespace gantry::image::fetching {

// Of one message between the two.
constexpr size_t kMaxFields = 2 * (kMaxSignatures + 32);
constexpr size_t kMaxMessageBytes =
    (kMaxIndexDepth + 1) * kMaxManifestBytes + kMaxConfigBytes + 2 * kMaxSignatureBytesInAll + 1024 * 1024;
constexpr MessageBounds kBounds{kMaxFields, kMaxMessageBytes, "the process that fetches"};

constexpr char kOffer = 'o';
constexpr char kOld = '1';  // schema 1: its bytes, the sizes of its blobs, each with a comma
constexpr char kTop = 't';
constexpr char kAsk = 'a';
constexpr char kLook = 'l';
constexpr char kFound = 'f';
constexpr char kBegin = 'b';
constexpr char kGo = 'g';
constexpr char kComing = 'c';   // the documents are in the store, under a lease, and the blobs begin to come
constexpr char kChecked = 'k';  // the layers of one image, each byte; the disk need not have them yet
constexpr char kDone = 'd';

// Puts a document into the store, unless it is there.
void KeepBytes(Store& store, const Descriptor& descriptor, const std::string& bytes);

}  // namespace gantry::image::fetching
