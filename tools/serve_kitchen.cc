#include "tools/serve_kitchen.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "serve/cache.h"
#include "serve/order.h"

namespace gantry::tools {
namespace {

using serve::Answer;
using serve::Order;
constexpr size_t kMaxRemembered = 200'000;

using Clock = std::chrono::steady_clock;

class Kitchen {
 public:
  Kitchen(const MakeOptions& options, const KitchenLimits& limits, int channel, Process& front)
      : options_(options), limits_(limits), channel_(channel), front_(front) {
    const sigset_t signals = ServeSignals();
    signals_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_)
      ThrowErrno("wait for signals");
  }

  int Run() {
    while (true) {
      std::vector<pollfd> polls{
          {signals_.get(), POLLIN, 0}, {front_.pidfd(), POLLIN, 0}, {open_ ? channel_ : -1, POLLIN, 0}};
      for (const Child& child : children_)
        polls.push_back({child.done ? child.process->pidfd() : child.channel.get(), POLLIN, 0});
      if (poll(polls.data(), polls.size(), 1000) < 0 && errno != EINTR)
        ThrowErrno("poll");
      if (polls[0].revents != 0)
        PassSignals();
      if (polls[1].revents != 0)
        return front_.Wait().code;
      HearChildren(std::span(polls).subspan(3));
      if (polls[2].revents != 0)
        HearFront();
      EndLate();
    }
  }

 private:
  struct Child {
    uint64_t id;
    UniqueFd channel;
    std::optional<Process> process;
    Clock::time_point started;
    std::string file;  // of the App Container Image that it makes
    MessageBuffer said{serve::kOrderBounds};
    std::optional<Answer> done = {};  // told when the process has ended well
    bool over = false;
  };

  void PassSignals() {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      front_.Signal(static_cast<int>(info.ssi_signo));
  }

  void HearFront() {
    const std::optional<Message> message = ReceiveMessage(channel_, serve::kOrderBounds);
    open_ = message.has_value();
    if (!message)
      return;
    const std::optional<Order> order = Order::FromMessage(*message);
    if (!order)
      throw Error(ErrorKind::kFailed, "the front of the server does not keep to its protocol");
    if (children_.size() >= limits_.children) {
      Refuse(order->id, Error(ErrorKind::kFailed, "too many conversions at once"));
      return;
    }
    Order ours = *order;
    if (ours.kind == Order::Kind::kSign) {
      const auto made = made_.find(ours.reference);
      if (made == made_.end()) {
        Refuse(ours.id, Error(ErrorKind::kNotFound, "what is to be signed was not made since this server started"));
        return;
      }
      ours.known = made->second;
    }
    auto [channel, process] = ForkOverSocket([&](int theirs) { return Make(ours, options_, theirs); });
    children_.push_back({.id = ours.id,
                         .channel = std::move(channel),
                         .process = std::move(process),
                         .started = Clock::now(),
                         .file = ours.kind == Order::Kind::kAci ? serve::FileOf(serve::KeyOf(ours)) : ""});
  }

  // The front can write to the cache, so that what lies there says nothing about who made it.
  void Remember(const std::string& file, const serve::Record& record) {
    if (record.unchanged)
      return;
    if (made_.size() >= kMaxRemembered)
      made_.clear();  // what is asked for again is made again
    made_[file] = record.digest;
  }

  void HearChildren(std::span<const pollfd> polls) {
    size_t at = 0;
    for (Child& child : children_) {
      if (polls[at++].revents != 0)
        Hear(child);
    }
    children_.remove_if([](const Child& child) { return child.over; });
  }

  // One that is slow to say something, or to end, keeps nobody waiting but who ordered. A child that answers for an
  // order that is not its own speaks for its own all the same.
  void Hear(Child& child) {
    try {
      if (child.done)
        return HearEnd(child);
      const bool open = child.said.Fill(child.channel.get());
      while (const std::optional<Message> message = child.done ? std::nullopt : child.said.Next()) {
        std::optional<Answer> answer = Answer::FromMessage(*message);
        if (!answer)
          throw Error(ErrorKind::kFailed, "the process that converts does not keep to its protocol");
        answer->id = child.id;
        if (answer->kind == Answer::Kind::kDone)
          child.done = std::move(answer);
        else
          Tell(*answer);
      }
      if (!open && !child.done)
        throw Error(ErrorKind::kFailed, "the process that converts ended early");
    } catch (const Error& error) {
      End(child, error);
    }
  }

  void HearEnd(Child& child) {
    if (child.process->Wait().code != 0)
      throw Error(ErrorKind::kFailed, "the process that converts failed at its end");
    child.over = true;
    if (!child.file.empty())
      Remember(child.file, serve::Record::Parse(child.done->text));
    Tell(*child.done);
  }

  // The front removes what it left, so it must be gone before the front hears of it.
  void End(Child& child, const Error& why) {
    child.over = true;
    if (child.process->pid() > 0)
      kill(-child.process->pid(), SIGKILL);  // with what it started
    child.process.reset();
    Refuse(child.id, why);
  }

  void Refuse(uint64_t id, const Error& why) {
    Tell({Answer::Kind::kFailed, id, why.message(), why.hint(), why.kind()});
  }

  // A front that is gone needs no answer; that it is gone the next look tells.
  void Tell(const Answer& answer) const {
    try {
      SendMessage(channel_, answer.ToMessage());
    } catch (const Error&) {
    }
  }

  void EndLate() {
    for (Child& child : children_) {
      if (Clock::now() - child.started < limits_.time)
        continue;
      End(child, Error(ErrorKind::kNetwork, "it took longer than " + std::to_string(limits_.time.count()) + " s"));
    }
    children_.remove_if([](const Child& child) { return child.over; });
  }

  const MakeOptions& options_;
  KitchenLimits limits_;
  int channel_;
  Process& front_;
  UniqueFd signals_;
  bool open_ = true;
  std::map<std::string, std::string> made_;  // digests of App Container Images, by the names of their files
  std::list<Child> children_;                // destroyed, they are killed
};

}  // namespace

sigset_t ServeSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

int RunKitchen(const MakeOptions& options, const KitchenLimits& limits, int channel, Process& front) {
  return Kitchen(options, limits, channel, front).Run();
}

}  // namespace gantry::tools
