// The metadata service of appc, apart from its sockets: what an app can ask about its pod, and the pod's identity
// (appc spec 0.8.11, ace.md, "App Container Metadata Service").
//
// Requests come from inside the container. What is read of one has bounds, and of HTTP only that is known which the
// service needs: one request a connection, GET and POST, a body of a stated length that is a form. Whoever asks must
// know the token that is in the URL. A pod signs with a key of its own, made of its UUID and the store's secret, so
// that each pod of a store can verify what another has signed, and none can sign as another.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::runner {

constexpr size_t kMaxRequestHead = 8 * 1024;
constexpr size_t kMaxRequestBody = 256 * 1024;
constexpr size_t kMetadataSecretBytes = 64;

struct AppMetadata {
  std::string name;
  std::string image_id;        // ALGORITHM-HEX
  std::string image_manifest;  // JSON, as all below
  std::string annotations;
};

struct PodMetadata {
  std::string token;   // of the URL
  std::string secret;  // of the store, kMetadataSecretBytes
  std::string uuid;
  std::string manifest;
  std::string annotations;
  std::vector<AppMetadata> apps;
};

// A token as it is for one pod: 128 random bits in letters and digits.
std::string NewMetadataToken();

// The whole response to what was received on a connection; nullopt while more of the request is to come.
std::optional<std::string> AnswerRequest(const PodMetadata& metadata, std::string_view received);

}  // namespace gantry::runner
