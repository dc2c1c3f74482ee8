// The places where one image may be asked for, in turn: mirrors, then the registry itself.
//
// A place that does not have the image, is not well, or sends what is not the image, is passed over. What the next one
// sends is checked as well, so that a mirror can deny an image but not change it, as far as the name has a digest; a
// tag is what the first place that knows it says.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

struct PullConnection {
  PullConnection(const FetchSource& source, std::optional<Credentials> credentials)
      : name(source.name), http(source.http), registry(http, name, std::move(credentials)) {}

  const DockerReference name;
  HttpClient http;
  RegistryClient registry;
};

class PullSources {
 public:
  // `credentials` are those of each of `sources`.
  PullSources(std::span<const FetchSource> sources, std::vector<std::optional<Credentials>> credentials)
      : sources_(sources), credentials_(std::move(credentials)) {}

  // What `get` brings from the first place from which it does not throw; that place becomes the current one. The error
  // of the last place, with those of the others, when there is none.
  template <typename Got, typename Get>
  Got FirstThatHas(Get get) {
    while (true) {
      try {
        return get(current());
      } catch (const Error& error) {
        Next(error);
      }
    }
  }

  PullConnection& current();

  // RegistryClient::FetchBlobs from the current place, and what that does not deliver from those behind it.
  // `checked` is called once.
  void FetchBlobs(
      std::span<const Descriptor> blobs, Store& store, Progress& progress,
      const std::function<void()>& checked = [] {});

 private:
  // Passes over the current place, or throws `error` when there is no other or no other would do better.
  void Next(const Error& error);

  std::span<const FetchSource> sources_;
  std::vector<std::optional<Credentials>> credentials_;
  size_t at_ = 0;
  std::unique_ptr<PullConnection> connection_;
  std::string passed_over_;
};

}  // namespace gantry::image
