// The health check of an image, run in the container of its app at intervals (Docker's HEALTHCHECK).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "runner/enter.h"
#include "runner/event_loop.h"
#include "runner/pod.h"

namespace gantry::runner {

class HealthProbe {
 public:
  // `app` has a health check; `start` starts it in the app's container, with our descriptors 0 to 2. Changes of the
  // state are appended to the pod's record. All must outlive this.
  HealthProbe(EventLoop& loop, const Pod& pod, const AppPlan& app, std::function<EnteredProcess()> start);
  HealthProbe(const HealthProbe&) = delete;
  HealthProbe& operator=(const HealthProbe&) = delete;
  ~HealthProbe();

 private:
  void Schedule();
  void Check();
  void Read();
  void Finish(bool good);
  EventLoop& loop_;
  const Pod& pod_;
  const AppPlan& app_;
  std::function<EnteredProcess()> start_;
  int64_t started_;  // milliseconds
  uint64_t timer_ = 0;
  std::optional<EnteredProcess> process_;
  UniqueFd output_;
  std::string text_;
  uint64_t failures_ = 0;
  std::optional<bool> good_;  // as it was appended last
};

}  // namespace gantry::runner
