#include "libimage/layer/rootfs_digest.h"

namespace gantry::image {
namespace {

// Printable ASCII but for space, '=' and the backslash stands for itself; every other byte is \xHH. So a line has one
// spelling and its fields are told apart by spaces.
void PutEscaped(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\' && c != '=') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

void PutField(std::string& line, std::string_view prefix, std::string_view text) {
  line += prefix;
  PutEscaped(line, text);
}

void PutOctal(std::string& line, uint32_t mode) {
  for (int shift = 9; shift >= 0; shift -= 3) line += static_cast<char>('0' + (mode >> shift & 7));
}

}  // namespace

std::string EscapedText(std::string_view text) {
  std::string out;
  PutEscaped(out, text);
  return out;
}

char TypeLetter(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return 'f';
    case EntryType::kHardLink:
      break;  // what it leads to is described
    case EntryType::kSymlink:
      return 'l';
    case EntryType::kDirectory:
      return 'd';
    case EntryType::kCharDevice:
      return 'c';
    case EntryType::kBlockDevice:
      return 'b';
    case EntryType::kFifo:
      return 'p';
  }
  return '?';
}

std::string RootfsLine(const ListedPath& path) {
  std::string line;
  PutField(line, "/", path.path);
  if (path.first != path.path) {
    PutField(line, " h /", path.first);
    return line;
  }
  line += ' ';
  line += TypeLetter(path.type);
  line += ' ';
  PutOctal(line, path.mode);
  line += ' ' + std::to_string(path.uid) + ' ' + std::to_string(path.gid);
  if (path.type == EntryType::kFile) {
    line += ' ' + std::to_string(path.size) + ' ' + Digest::FromRaw(HashAlgorithm::kSha256, path.content).hex();
  } else if (path.type == EntryType::kCharDevice || path.type == EntryType::kBlockDevice) {
    line += ' ' + std::to_string(path.device_major) + ',' + std::to_string(path.device_minor);
  } else if (path.type == EntryType::kSymlink) {
    PutField(line, " ", path.target);
  }
  for (const auto& [name, value] : *path.xattrs) {
    PutField(line, " ", name);
    PutField(line, "=", value);
  }
  return line;
}

Digest RootfsDigest(const Listing& tree, const std::function<void(std::string_view)>& line) {
  Hasher hasher;
  for (size_t i = 0; i < tree.size(); ++i) {
    std::string text = RootfsLine(tree[i]);
    if (line)
      line(text);
    text += '\n';
    hasher.Update(AsBytes(text));
  }
  return hasher.Finish();
}

}  // namespace gantry::image
