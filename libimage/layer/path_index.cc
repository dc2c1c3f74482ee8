#include "libimage/layer/path_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr uint32_t kIdMask = (uint32_t{1} << 25) - 1;
static_assert(kMaxPaths < kIdMask);

uint32_t PlaceOf(PathId id, uint32_t hash) { return (hash & ~kIdMask) | id; }

struct SipState {
  uint64_t a, b, c, d;

  void Round() {
    a += b, b = std::rotl(b, 13) ^ a, a = std::rotl(a, 32);
    c += d, d = std::rotl(d, 16) ^ c;
    a += d, d = std::rotl(d, 21) ^ a;
    c += b, b = std::rotl(b, 17) ^ c, c = std::rotl(c, 32);
  }
  void Absorb(uint64_t word) {
    d ^= word;
    Round();
    a ^= word;
  }
};

// SipHash-1-3 with a key of this process: an image cannot choose names that collide. The order of the output does not
// depend on it.
uint32_t HashOf(PathId parent, std::string_view name) {
  static const std::pair<uint64_t, uint64_t> kKey = [] {
    std::random_device random;
    const auto word = [&random] { return uint64_t{random()} << 32 | random(); };
    return std::pair(word(), word());
  }();
  SipState state{kKey.first ^ 0x736f6d6570736575U, kKey.second ^ 0x646f72616e646f6dU, kKey.first ^ 0x6c7967656e657261U,
                 kKey.second ^ 0x7465646279746573U};
  state.Absorb(uint64_t{parent} << 32 | name.size());
  while (!name.empty()) {
    uint64_t word = 0;
    const size_t n = std::min(name.size(), sizeof word);
    std::memcpy(&word, name.data(), n);
    state.Absorb(word);
    name.remove_prefix(n);
  }
  state.c ^= 0xff;
  state.Round(), state.Round(), state.Round();
  return static_cast<uint32_t>(state.a ^ state.b ^ state.c ^ state.d);
}

}  // namespace

uint32_t TextArena::Add(std::string_view text) {
  const size_t need = sizeof(uint16_t) + text.size();
  if (need > kChunk)
    throw Error(ErrorKind::kCorrupt, "a path of " + std::to_string(text.size()) + " bytes is too long");
  if (need > kChunk - used_) {
    if ((chunks_.size() + 1) * kChunk > kMaxPathTextBytes)
      throw Error(ErrorKind::kCorrupt, "the names in this image take more than 2 GiB");
    chunks_.push_back(std::make_unique<char[]>(kChunk));
    used_ = 0;
  }
  const auto length = static_cast<uint16_t>(text.size());
  char* at = chunks_.back().get() + used_;
  std::memcpy(at, &length, sizeof length);
  std::memcpy(at + sizeof length, text.data(), text.size());
  const size_t number = (chunks_.size() - 1) * kChunk + used_;
  used_ += need;
  return static_cast<uint32_t>(number);
}

std::string_view TextArena::Get(uint32_t text) const {
  const char* at = chunks_[text / kChunk].get() + text % kChunk;
  uint16_t length = 0;
  std::memcpy(&length, at, sizeof length);
  return {at + sizeof length, length};
}

void TextArena::Clear() {
  chunks_.clear();
  used_ = kChunk;
}

PathIndex::PathIndex() : table_(1024, kNoPath) {
  PathNode root;
  root.name = names_.Add("");
  nodes_.Append(root);
}

PathId PathIndex::Child(PathId parent, std::string_view name) {
  const uint32_t hash = HashOf(parent, name);
  size_t at = hash & (table_.size() - 1);
  for (; table_[at] != kNoPath; at = (at + 1) & (table_.size() - 1)) {
    const PathId id = table_[at] & kIdMask;
    if (table_[at] != PlaceOf(id, hash))
      continue;
    const PathNode& node = nodes_[id];
    if (node.hash == hash && node.parent == parent && names_.Get(node.name) == name)
      return id;
  }
  if (nodes_.size() >= kMaxPaths)
    throw Error(ErrorKind::kCorrupt, "the image has more than " + std::to_string(kMaxPaths) + " paths");
  const auto id = static_cast<PathId>(nodes_.size());
  PathNode node;
  node.parent = parent;
  node.name = names_.Add(name);
  node.hash = hash;
  nodes_.Append(node);
  table_[at] = PlaceOf(id, hash);
  if (nodes_.size() * 4 > table_.size() * 3)
    Grow();
  return id;
}

void PathIndex::Grow() {
  // The nodes keep their hashes, so the old table is not needed to fill the new one.
  const size_t size = table_.size() * 2;
  std::vector<PathId>().swap(table_);
  table_.assign(size, kNoPath);
  for (PathId id = 1; id < nodes_.size(); ++id) {
    size_t at = nodes_[id].hash & (size - 1);
    while (table_[at] != kNoPath) at = (at + 1) & (size - 1);
    table_[at] = PlaceOf(id, nodes_[id].hash);
  }
}

size_t PathIndex::PathLength(PathId id) const {
  size_t length = 0;
  for (; id != kRootPath; id = nodes_[id].parent) length += Name(id).size() + 1;
  return length == 0 ? 0 : length - 1;
}

std::string PathIndex::Path(PathId id) const {
  std::string path(PathLength(id), '/');
  size_t end = path.size();
  for (; id != kRootPath; id = nodes_[id].parent) {
    const std::string_view name = Name(id);
    end -= name.size();
    std::memcpy(path.data() + end, name.data(), name.size());
    end -= end == 0 ? 0 : 1;
  }
  return path;
}

}  // namespace gantry::image
