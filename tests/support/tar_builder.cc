#include "tests/support/tar_builder.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace gantry::testing {
namespace {

constexpr size_t kBlock = 512;

void Put(std::string& block, size_t at, size_t width, std::string_view text) {
  block.replace(at, std::min(width, text.size()), text.substr(0, width));
}

void PutOctal(std::string& block, size_t at, size_t width, uint64_t value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%0*llo", static_cast<int>(width - 1),
                static_cast<unsigned long long>(value));  // NOLINT(google-runtime-int): what printf takes
  Put(block, at, width - 1, text.data());
}

std::string PaxRecord(const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;  // space, '=', newline
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) {
    ++length;
  }
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

}  // namespace

TarBuilder& TarBuilder::File(std::string_view name, std::string_view content, uint32_t mode, uint32_t uid,
                             uint32_t gid) {
  return Entry({.name = std::string(name), .mode = mode, .uid = uid, .gid = gid, .size = content.size()}, content);
}

TarBuilder& TarBuilder::Dir(std::string_view name, uint32_t mode) {
  return Entry({.name = std::string(name) + "/", .type = '5', .mode = mode});
}

TarBuilder& TarBuilder::Symlink(std::string_view name, std::string_view target) {
  return Entry({.name = std::string(name), .type = '2', .mode = 0777, .link = std::string(target)});
}

TarBuilder& TarBuilder::HardLink(std::string_view name, std::string_view target) {
  return Entry({.name = std::string(name), .type = '1', .link = std::string(target)});
}

TarBuilder& TarBuilder::CharDevice(std::string_view name, uint32_t major, uint32_t minor) {
  return Entry({.name = std::string(name), .type = '3', .major = major, .minor = minor});
}

TarBuilder& TarBuilder::Fifo(std::string_view name) { return Entry({.name = std::string(name), .type = '6'}); }

TarBuilder& TarBuilder::Whiteout(std::string_view dir, std::string_view name) {
  const std::string prefix = dir.empty() ? "" : std::string(dir) + "/";
  return File(prefix + ".wh." + std::string(name), "");
}

TarBuilder& TarBuilder::Opaque(std::string_view dir) { return Whiteout(dir, ".wh..opq"); }

TarBuilder& TarBuilder::Pax(const std::vector<std::pair<std::string, std::string>>& records, char type) {
  std::string body;
  for (const auto& [key, value] : records) {
    body += PaxRecord(key, value);
  }
  return Entry({.name = "PaxHeaders/next", .type = type, .size = body.size()}, body);
}

TarBuilder& TarBuilder::Entry(const Header& header, std::string_view data) {
  std::string block(kBlock, '\0');
  Put(block, 0, 100, header.name);
  PutOctal(block, 100, 8, header.mode);
  PutOctal(block, 108, 8, header.uid);
  PutOctal(block, 116, 8, header.gid);
  PutOctal(block, 124, 12, header.size);
  PutOctal(block, 136, 12, static_cast<uint64_t>(header.mtime));
  block[156] = header.type;
  Put(block, 157, 100, header.link);
  Put(block, 257, 8, std::string_view("ustar\00000", 8));
  PutOctal(block, 329, 8, header.major);
  PutOctal(block, 337, 8, header.minor);
  Put(block, 148, 8, "        ");
  unsigned sum = 0;
  for (const char c : block) {
    sum += static_cast<unsigned char>(c);
  }
  PutOctal(block, 148, 7, sum);
  block[154] = '\0';
  bytes_ += block;
  bytes_ += data;
  bytes_.append((kBlock - data.size() % kBlock) % kBlock, '\0');
  return *this;
}

TarBuilder& TarBuilder::Bytes(std::string_view raw) {
  bytes_ += raw;
  return *this;
}

}  // namespace gantry::testing
