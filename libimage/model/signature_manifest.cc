#include "libimage/model/signature_manifest.h"

#include <algorithm>
#include <array>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr std::array kAttachmentTypes = {kSimpleSigningType, kDsseType, kBundleType,
                                         std::string_view("application/jose+json"),
                                         std::string_view("application/cose")};
constexpr std::string_view kEmptyConfig = "{}";

Descriptor Describe(std::string_view media_type, std::string_view bytes) {
  return Descriptor{.media_type = std::string(media_type), .digest = Digest::Of(bytes), .size = bytes.size()};
}

std::string Dashed(const Digest& digest) { return std::string(Name(digest.algorithm())) + "-" + digest.hex(); }

Manifest ParseOciManifest(std::string_view bytes) {
  ManifestOrIndex parsed = ParseManifest(bytes, kOciManifestType);
  if (auto* manifest = std::get_if<Manifest>(&parsed)) {
    return std::move(*manifest);
  }
  throw Error(ErrorKind::kCorrupt, "signatures lie behind an index where a manifest was expected");
}

// An image's configuration whose layers are the payloads: what cosign writes, and every registry takes.
std::string SignatureConfig(const std::vector<Descriptor>& layers) {
  json::Array diff_ids;
  for (const Descriptor& layer : layers) {
    diff_ids.emplace_back(layer.digest.str());
  }
  return json::Print(json::Object{{"architecture", ""},
                                  {"created", "0001-01-01T00:00:00Z"},
                                  {"os", ""},
                                  {"rootfs", json::Object{{"type", "layers"}, {"diff_ids", diff_ids}}},
                                  {"config", json::Object{}}});
}

SignatureManifest Finished(const Manifest& manifest, std::vector<SignatureManifest::Blob> blobs) {
  SignatureManifest out{Describe(kOciManifestType, ""), manifest.ToJson(), std::move(blobs)};
  out.descriptor = Describe(kOciManifestType, out.bytes);
  return out;
}

std::vector<Descriptor> Known(std::vector<Descriptor> layers) {
  std::erase_if(layers, [](const Descriptor& layer) {
    return !IsAttachmentType(layer.media_type) || layer.size > kMaxAttachmentBytes ||
           layer.annotations.size() > kMaxAttachmentAnnotations;
  });
  if (layers.size() > kMaxSignatureLayers) {
    layers.resize(kMaxSignatureLayers, layers.front());
  }
  return layers;
}

}  // namespace

std::string SignatureTag(const Digest& manifest) { return Dashed(manifest) + ".sig"; }
std::string AttestationTag(const Digest& manifest) { return Dashed(manifest) + ".att"; }
std::string ReferrersTag(const Digest& manifest) { return Dashed(manifest); }
std::vector<std::string> DigestTags(const Digest& manifest) {
  return {SignatureTag(manifest), AttestationTag(manifest), Dashed(manifest) + ".sbom", ReferrersTag(manifest)};
}

bool IsAttachmentType(std::string_view media_type) {
  return std::find(kAttachmentTypes.begin(), kAttachmentTypes.end(), media_type) != kAttachmentTypes.end();
}

std::optional<SignatureManifest> WithSignature(std::string_view present, const Attachment& attachment) {
  Manifest manifest{.media_type = std::string(kOciManifestType), .config = Describe(kOciConfigType, kEmptyConfig)};
  if (!present.empty()) {
    manifest = ParseOciManifest(present);
  }
  Descriptor layer = Describe(attachment.media_type, attachment.payload);
  layer.annotations = attachment.annotations;
  if (std::find(manifest.layers.begin(), manifest.layers.end(), layer) != manifest.layers.end()) {
    return std::nullopt;
  }
  if (manifest.layers.size() >= kMaxSignatureLayers) {
    throw Error(ErrorKind::kFailed,
                "the image already has " + std::to_string(kMaxSignatureLayers) + " signatures in its tag",
                "remove those that nobody needs");
  }
  manifest.layers.push_back(layer);
  std::string config = SignatureConfig(manifest.layers);
  manifest.config = Describe(kOciConfigType, config);
  return Finished(manifest, {{layer, attachment.payload}, {manifest.config, std::move(config)}});
}

SignatureManifest MakeReferrer(const Descriptor& subject, const Attachment& attachment,
                               const std::map<std::string, std::string>& annotations, std::string_view artifact_type) {
  Descriptor layer = Describe(attachment.media_type, attachment.payload);
  layer.annotations = attachment.annotations;
  const Descriptor config = Describe(kOciEmptyType, kEmptyConfig);
  // Only what says which manifest it is: other tools compare the three.
  const Descriptor bare{.media_type = subject.media_type, .digest = subject.digest, .size = subject.size};
  const Manifest manifest{.media_type = std::string(kOciManifestType),
                          .config = config,
                          .layers = {layer},
                          .annotations = annotations,
                          .artifact_type = std::string(artifact_type.empty() ? attachment.media_type : artifact_type),
                          .subject = bare};
  return Finished(manifest, {{layer, attachment.payload}, {config, std::string(kEmptyConfig)}});
}

std::optional<std::string> WithReferrer(std::string_view present, std::string_view referrer) {
  Index index{.media_type = std::string(kOciIndexType)};
  if (!present.empty()) {
    ManifestOrIndex parsed = ParseManifest(present, kOciIndexType);
    auto* const found = std::get_if<Index>(&parsed);
    if (found == nullptr) {
      throw Error(ErrorKind::kCorrupt, "the tag for referrers holds a manifest where an index was expected");
    }
    index = std::move(*found);
  }
  ManifestOrIndex document = ParseManifest(referrer);
  const std::string type = std::visit([](const auto& one) { return one.media_type; }, document);
  Descriptor entry = Describe(type, referrer);
  if (std::any_of(index.manifests.begin(), index.manifests.end(),
                  [&](const Descriptor& old) { return old.digest == entry.digest; })) {
    return std::nullopt;
  }
  if (index.manifests.size() >= kMaxReferrers) {
    throw Error(ErrorKind::kFailed, "the image already has " + std::to_string(kMaxReferrers) + " referrers",
                "remove those that nobody needs");
  }
  entry.annotations = std::visit([](const auto& one) { return one.annotations; }, document);
  entry.artifact_type = std::visit([](const auto& one) { return one.artifact_type; }, document);
  // Those of before OCI 1.1 have it as the type of their configuration.
  if (const auto* manifest = std::get_if<Manifest>(&document); manifest != nullptr && entry.artifact_type.empty()) {
    entry.artifact_type = manifest->config.media_type;
  }
  index.manifests.push_back(std::move(entry));
  return index.ToJson();
}

std::optional<Referrer> ReferrerOf(std::string_view bytes, const Descriptor& manifest) {
  const ManifestOrIndex parsed = ParseManifest(bytes, manifest.media_type);
  const auto of = [&](const auto& document, const std::string& type) -> std::optional<Referrer> {
    if (!document.subject) {
      return std::nullopt;
    }
    Descriptor entry{.media_type = manifest.media_type, .digest = manifest.digest, .size = bytes.size()};
    entry.annotations = document.annotations;
    entry.artifact_type = document.artifact_type.empty() ? type : document.artifact_type;
    return Referrer{document.subject->digest, std::move(entry)};
  };
  if (const auto* index = std::get_if<Index>(&parsed)) {
    return of(*index, "");
  }
  const auto& one = std::get<Manifest>(parsed);
  return of(one, one.config.media_type);
}

std::optional<Digest> SubjectOfTag(std::string_view tag) {
  const size_t dash = tag.find('-');
  const size_t dot = tag.find('.');
  if (dash == std::string_view::npos || dash > tag.size()) {
    return std::nullopt;
  }
  auto digest =
      Digest::TryParse(std::string(tag.substr(0, dash)) + ":" + std::string(tag.substr(dash + 1, dot - dash - 1)));
  if (!digest) {
    return std::nullopt;
  }
  const std::vector<std::string> known = DigestTags(*digest);
  return std::find(known.begin(), known.end(), tag) == known.end() ? std::nullopt : digest;
}

std::vector<Descriptor> SignatureLayers(std::string_view manifest) { return Known(ParseOciManifest(manifest).layers); }

std::vector<Descriptor> ReferrerLayers(std::string_view manifest, const Digest& subject) {
  Manifest parsed = ParseOciManifest(manifest);
  if (!parsed.subject || parsed.subject->digest != subject) {
    return {};
  }
  return Known(std::move(parsed.layers));
}

}  // namespace gantry::image
