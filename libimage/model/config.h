// Image configurations (OCI image-spec, config.md; Docker's image v1.2 JSON is the same shape).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {

constexpr size_t kMaxConfigBytes = 4 * 1024 * 1024;

struct HealthCheck {
  std::vector<std::string> test;
  uint64_t interval_ns = 0;
  uint64_t timeout_ns = 0;
  uint64_t start_period_ns = 0;
  uint64_t retries = 0;
  friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

struct HistoryEntry {
  std::string created, author, created_by, comment;
  bool empty_layer = false;
  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};

struct ImageConfig {
  Platform platform;
  std::string created;  // RFC 3339 as written, empty when absent
  std::string author;
  std::string docker_version;
  std::string parent;  // Docker's parent id, empty when absent
  std::string comment;

  // "config": what the container executes. Empty and absent are the same.
  std::string user;
  std::vector<std::string> env;  // "NAME=value"; entries without '=' kept as written
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::string working_dir;
  std::vector<std::string> volumes;        // sorted
  std::vector<std::string> exposed_ports;  // sorted, as written: "80/tcp", "8000", "53/udp"
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::optional<HealthCheck> health_check;

  std::vector<Digest> diff_ids;  // base first
  std::vector<HistoryEntry> history;

  // kCorrupt for what is not an image configuration; a Windows image parses (its os tells). Members that are unknown
  // are ignored; a null container or list is an empty one; Entrypoint and Cmd may be one string (old images), which is
  // kept as ["/bin/sh", "-c", text].
  static ImageConfig Parse(std::string_view bytes);
  friend bool operator==(const ImageConfig&, const ImageConfig&) = default;
};

}  // namespace gantry::image
