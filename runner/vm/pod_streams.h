// The streams of an application of a detached pod in a guest: its log (pod_log.h), and whoever attaches (attach.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runner/attach.h"
#include "runner/pod.h"
#include "runner/pod_log.h"
#include "runner/vm/guest_process.h"

namespace gantry::runner::vm {

class PodStreams {
 public:
  PodStreams(AttachServer& attach, GuestProcess& process, const Pod& pod, const AppPlan& app, LogLimits limits);
  PodStreams(const PodStreams&) = delete;
  PodStreams& operator=(const PodStreams&) = delete;

  void Exited(int code);

 private:
  void Add(uint8_t stream, std::string_view bytes);
  void SendInput();

  AttachServer& attach_;
  GuestProcess& process_;
  std::string app_;
  std::unique_ptr<AppLog> log_;
  std::string pending_;  // input that the guest has no room for
  bool end_of_input_ = false;
};

}  // namespace gantry::runner::vm
