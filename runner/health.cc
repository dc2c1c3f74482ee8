#include "runner/health.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/error.h"
#include "runner/redirection.h"

namespace gantry::runner {
namespace {

// Docker's, for what an image leaves open.
constexpr int64_t kInterval = 30'000;
constexpr int64_t kTimeout = 30'000;
constexpr uint64_t kRetries = 3;
constexpr size_t kMaxOutput = 4096;

int64_t Milliseconds(uint64_t nanoseconds, int64_t otherwise) {
  return nanoseconds == 0 ? otherwise : std::max<int64_t>(1, static_cast<int64_t>(nanoseconds / 1'000'000));
}

int64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// What JSON can hold of it.
std::string Utf8Only(const std::string& text) {
  std::string out;
  for (const char c : text) out += (static_cast<unsigned char>(c) >= 0x80) ? '?' : c;
  return out;
}

}  // namespace

HealthProbe::HealthProbe(EventLoop& loop, const Pod& pod, const AppPlan& app, std::function<EnteredProcess()> start)
    : loop_(loop), pod_(pod), app_(app), start_(std::move(start)), started_(MonotonicNow()) {
  Schedule();
}

HealthProbe::~HealthProbe() {
  loop_.Cancel(timer_);
  if (process_)
    loop_.Forget(process_->pidfd());
  if (output_)
    loop_.Forget(output_.get());
}

void HealthProbe::Schedule() {
  timer_ = loop_.After(Milliseconds(app_.config.health->interval_ns, kInterval), [this] { Check(); });
}

void HealthProbe::Check() {
  Pipe pipe = MakePipe();
  text_.clear();
  try {
    const Redirection redirection({-1, pipe.write.get(), pipe.write.get()});
    process_.emplace(start_());
  } catch (const Error& error) {
    text_ = error.message();
    Finish(false);
    return;
  }
  output_ = std::move(pipe.read);
  fcntl(output_.get(), F_SETFL, O_NONBLOCK);
  loop_.Watch(output_.get(), [this] { Read(); });
  timer_ = loop_.After(Milliseconds(app_.config.health->timeout_ns, kTimeout), [this] {
    text_ = "it took longer than its timeout";
    process_->Kill();
  });
  loop_.Watch(process_->pidfd(), [this] {
    loop_.Forget(process_->pidfd());
    loop_.Cancel(timer_);
    const ExitStatus status = process_->Reap();
    process_.reset();
    if (output_)
      Read();
    Finish(status.code == 0);
  });
}

void HealthProbe::Read() {
  std::array<char, kMaxOutput> buffer{};
  const ssize_t size = read(output_.get(), buffer.data(), buffer.size());
  if (size > 0 && text_.size() < kMaxOutput)
    text_.append(buffer.data(), static_cast<size_t>(size));
  if (size == 0) {
    loop_.Forget(output_.get());
    output_.Reset();
  }
}

void HealthProbe::Finish(bool good) {
  if (output_) {
    loop_.Forget(output_.get());
    output_.Reset();
  }
  const image::HealthCheck& health = *app_.config.health;
  const bool starting = MonotonicNow() - started_ < Milliseconds(health.start_period_ns, 0) && !good_;
  failures_ = good || starting ? 0 : failures_ + 1;
  const bool known = good || failures_ >= (health.retries == 0 ? kRetries : health.retries);
  if (known && good_ != good) {
    good_ = good;
    pod_.Append({good ? PodEvent::Kind::kHealthy : PodEvent::Kind::kUnhealthy, app_.name, 0, 0, 0,
                 Utf8Only(text_.substr(0, kMaxOutput))});
  }
  Schedule();
}

}  // namespace gantry::runner
