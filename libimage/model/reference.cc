#include "libimage/model/reference.h"

#include <algorithm>
#include <array>

#include "libimage/base/error.h"
#include "libimage/model/reference_text.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxReferenceBytes = 8192;
constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxLabels = 100;
constexpr std::string_view kDockerTransport = "docker://";
constexpr std::string_view kAppcTransport = "appc:";
constexpr std::string_view kStoreTransport = "store:";

struct FileTransport {
  std::string_view prefix;
  FileReference::Format format;
};

constexpr std::array kFileTransports = {
    FileTransport{"oci:", FileReference::Format::kOci},
    FileTransport{"oci-archive:", FileReference::Format::kOciArchive},
    FileTransport{"docker-archive:", FileReference::Format::kDockerArchive},
    FileTransport{"aci:", FileReference::Format::kAci},
    FileTransport{"files:", FileReference::Format::kFiles},
};

// Transports of other tools, which would pass for names of one component with a tag.
constexpr std::array<std::string_view, 7> kForeignTransports = {
    "containers-storage", "dir", "docker-daemon", "ocidir", "ostree", "sif", "tarball"};

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// An AC Identifier, as IsAcIdentifier of aci_manifest.h tells it.
std::string ParseAcIdentifier(const ReferenceText& text, const std::string& where) {
  char before = '/';
  for (size_t i = 0; i < text.size(); ++i) {
    const bool joint = std::string_view("-._~").find(text[i]) != std::string_view::npos;
    if (!IsLowerAlnum(text[i]) && !(text[i] == '/' && IsLowerAlnum(before)) && !(joint && before != '/'))
      text.FailCharacter(i, where + " (lower-case letters and digits; - . _ ~ / between them)");
    before = text[i];
  }
  if (!IsLowerAlnum(before))
    text.Fail(text.size(), text.empty() ? where + " is missing" : where + " ends with a separator");
  return std::string(text.view());
}

// Control bytes and, in names that are one word, spaces.
void RefuseControls(const ReferenceText& text, std::string_view where, char last_refused = '\x1f') {
  for (size_t i = 0; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) <= static_cast<unsigned char>(last_refused) || text[i] == '\x7f')
      text.FailCharacter(i, where);
  }
}

void AddLabel(AppcReference& out, const ReferenceText& key, const ReferenceText& value) {
  std::string name = ParseAcIdentifier(key, "the name of a label");
  const auto same = [&](const auto& label) { return label.first == name; };
  if (name == "name")
    key.Fail(0, "a label cannot be called 'name'");
  if (std::any_of(out.labels.begin(), out.labels.end(), same))
    key.Fail(0, "label '" + name + "' is given twice");
  if (value.empty())
    value.Fail(0, "the value of label '" + name + "' is missing");
  if (out.labels.size() == kMaxLabels)
    key.Fail(0, "too many labels");
  RefuseControls(value, "the value of a label");
  out.labels.emplace_back(std::move(name), value.view());
}

AppcReference ParseAppc(ReferenceText text) {
  AppcReference out;
  const size_t comma = std::min(text.view().find(','), text.size());
  const ReferenceText head = text.First(comma);
  const size_t colon = std::min(head.view().find(':'), head.size());
  out.name = ParseAcIdentifier(head.First(colon), "the name of an App Container image");
  if (colon < head.size()) {
    if (colon + 1 == head.size())
      head.Fail(head.size(), "the version is missing");
    RefuseControls(head.Skip(colon + 1), "a version");
    out.labels.emplace_back("version", head.view().substr(colon + 1));
  }
  text = text.Skip(comma);
  while (!text.empty()) {
    text = text.Skip(1);
    const ReferenceText label = text.First(std::min(text.view().find(','), text.size()));
    const size_t equals = label.view().find('=');
    if (equals == std::string_view::npos)
      label.Fail(label.size(), "a label is written NAME=VALUE");
    AddLabel(out, label.First(equals), label.Skip(equals + 1));
    text = text.Skip(label.size());
  }
  return out;
}

// NAME[:TAG], or @INDEX with a decimal number.
void CheckArchiveRef(const ReferenceText& ref) {
  if (ref[0] != '@') {
    if (ParseDocker(ref).digest)
      ref.Fail(ref.view().find('@'), "an archive of docker save knows no digests; write NAME[:TAG] or @INDEX");
    return;
  }
  for (size_t i = 1; i < ref.size(); ++i) {
    if (ref[i] < '0' || ref[i] > '9')
      ref.FailCharacter(i, "the number of an image in an archive");
  }
  if (ref.size() == 1 || ref.size() > 6)
    ref.Fail(1, "expected the number of an image in the archive, from 0");
}

FileReference ParseFile(FileReference::Format format, const ReferenceText& text) {
  // Without a part behind the path, so that paths may hold colons.
  const bool whole = format == FileReference::Format::kAci || format == FileReference::Format::kFiles;
  const size_t colon = whole ? text.size() : std::min(text.view().find(':'), text.size());
  const ReferenceText path = text.First(colon);
  if (path.empty())
    path.Fail(0, "the path is missing");
  if (path.size() > kMaxPathBytes)
    path.Fail(kMaxPathBytes, "the path is too long");
  FileReference out{format, std::string(path.view()), {}};
  if (colon == text.size())
    return out;
  const ReferenceText ref = text.Skip(colon + 1);
  if (ref.empty())
    ref.Fail(0, "the name of an image is missing after ':'");
  RefuseControls(ref, "the name of an image", ' ');
  if (format == FileReference::Format::kDockerArchive)
    CheckArchiveRef(ref);
  out.ref = ref.view();
  return out;
}

bool IsHexPrefix(std::string_view text) {
  return text.size() >= 12 && text.size() <= 128 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void CheckStoreName(const ReferenceText& text) {
  const bool digest = text.view().starts_with("sha256:") || text.view().starts_with("sha512:");
  if (digest ? Digest::TryParse(text.view()).has_value() : IsHexPrefix(text.view()))
    return;
  if (digest)
    text.Fail(text.size(),
              "a digest has 64 (sha256) or 128 (sha512) digits from 0 to f; a part of them, at least 12, is "
              "written without the algorithm");
  ParseDocker(text);
}

// Says what a name is that was meant for another tool, or for a path.
void RefuseOtherTransports(const ReferenceText& text) {
  constexpr std::string_view kKnown =
      "; known are docker://, oci:, oci-archive:, docker-archive:, aci:, files:, appc:, store:";
  const size_t colon = text.view().find(':');
  const std::string_view scheme = text.view().substr(0, colon);
  const bool url = colon != std::string_view::npos && text.view().substr(colon).starts_with("://");
  const bool foreign =
      std::find(kForeignTransports.begin(), kForeignTransports.end(), scheme) != kForeignTransports.end();
  if (url || (colon != std::string_view::npos && foreign))
    text.Fail(0, Quoted(scheme) + " is no transport of gantry" + std::string(kKnown));
  if (text[0] == '/' || text[0] == '~' || text.view().starts_with("./") || text.view().starts_with("../"))
    text.Fail(0, "a path needs the format of what is there before it: oci:, oci-archive:, docker-archive: or aci:");
}

Reference ParseReference(const ReferenceText& text) {
  if (text.view().starts_with(kDockerTransport))
    return Reference(ParseDocker(text.Skip(kDockerTransport.size())));
  for (const FileTransport& transport : kFileTransports) {
    if (text.view().starts_with(transport.prefix))
      return Reference(ParseFile(transport.format, text.Skip(transport.prefix.size())));
  }
  if (text.view().starts_with(kAppcTransport))
    return Reference(ParseAppc(text.Skip(kAppcTransport.size())));
  const bool explicitly_store = text.view().starts_with(kStoreTransport);
  const ReferenceText name = explicitly_store ? text.Skip(kStoreTransport.size()) : text;
  if (name.empty())
    name.Fail(0, "the name is missing");
  if (!explicitly_store)
    RefuseOtherTransports(name);
  CheckStoreName(name);
  return Reference(StoreReference{std::string(name.view()), explicitly_store});
}

std::string Print(const DockerReference& docker) { return std::string(kDockerTransport) + docker.ToString(); }

std::string Print(const FileReference& file) {
  std::string out;
  for (const FileTransport& transport : kFileTransports) {
    if (transport.format == file.format)
      out = transport.prefix;
  }
  return out + file.path + (file.ref.empty() ? "" : ":" + file.ref);
}

std::string Print(const AppcReference& appc) {
  std::string out = std::string(kAppcTransport) + appc.name;
  for (size_t i = 0; i < appc.labels.size(); ++i) {
    const auto& [key, value] = appc.labels[i];
    out += i == 0 && key == "version" ? ":" + value : "," + key + "=" + value;
  }
  return out;
}

std::string Print(const StoreReference& store) {
  return (store.explicitly_store ? std::string(kStoreTransport) : std::string()) + store.name;
}

}  // namespace

void ReferenceText::Fail(size_t at, std::string_view problem) const {
  const auto byte = static_cast<size_t>(piece_.data() - whole_.data()) + at;
  const std::string_view before = whole_.substr(0, byte);
  const auto character = std::count_if(before.begin(), before.end(),
                                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  throw Error(ErrorKind::kUsage, "invalid image name " + Quoted(whole_),
              "at character " + std::to_string(character + 1) + ": " + std::string(problem));
}

void ReferenceText::FailCharacter(size_t at, std::string_view where) const {
  if (at >= piece_.size())
    Fail(piece_.size(), std::string(where) + " ends too early");
  size_t length = 1;
  while (at + length < piece_.size() && (static_cast<unsigned char>(piece_[at + length]) & 0xC0) == 0x80) ++length;
  Fail(at, Quoted(piece_.substr(at, length)) + " cannot be in " + std::string(where));
}

Reference Reference::Parse(std::string_view text) {
  const ReferenceText whole(text);
  if (text.size() > kMaxReferenceBytes)
    whole.Fail(kMaxReferenceBytes, "the name is too long");
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    whole.FailCharacter(nul, "a name");
  return ParseReference(whole);
}

std::string Reference::ToString() const {
  return std::visit([](const auto& data) { return Print(data); }, data_);
}

}  // namespace gantry::image
