#include "runner/vm/pod_streams.h"

#include <algorithm>
#include <utility>

#include "runner/journal.h"

namespace gantry::runner::vm {
namespace {

constexpr size_t kMaxPendingInput = 1024 * 1024;

}  // namespace

PodStreams::PodStreams(AttachServer& attach, GuestProcess& process, const Pod& pod, const AppPlan& app,
                       LogLimits limits)
    : attach_(attach), process_(process), app_(app.name), log_(OpenAppLog(pod, app.name, limits)) {
  AttachServer::App functions;
  if (app.config.terminal)
    functions.resize = [this](uint16_t rows, uint16_t columns) {
      if (process_.started())
        process_.Resize(rows, columns);
    };
  if (app.config.interactive) {
    functions.input = [this](std::string_view bytes) {
      // What an app that reads nothing is sent is lost, as in namespaces.
      if (pending_.size() + bytes.size() <= kMaxPendingInput)
        pending_ += bytes;
      SendInput();
    };
    functions.end_of_input = [this] {
      end_of_input_ = true;
      SendInput();
    };
  }
  attach_.Serve(app_, std::move(functions));
  process_.SetStreams([this](uint8_t stream, std::string_view bytes) { Add(stream, bytes); }, [this] { SendInput(); });
}

void PodStreams::Add(uint8_t stream, std::string_view bytes) {
  const Stream as = stream == 1 ? Stream::kOutput : Stream::kError;
  attach_.Output(app_, as, bytes);
  log_->Write(as, bytes);
  process_.Taken(bytes.size());
}

void PodStreams::SendInput() {
  if (!process_.started())
    return;
  if (!process_.takes_input()) {
    pending_.clear();
    return;
  }
  const size_t size = std::min(pending_.size(), process_.room());
  if (size > 0)
    process_.Input(std::string_view(pending_).substr(0, size));
  pending_.erase(0, size);
  if (end_of_input_ && pending_.empty())
    process_.EndInput();
}

void PodStreams::Exited(int code) {
  log_->Flush();
  attach_.Exited(app_, code);
}

}  // namespace gantry::runner::vm
