#include "runner/vm/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "runner/attend.h"
#include "runner/bundle_plan.h"
#include "runner/etc_files.h"
#include "runner/init_params.h"
#include "runner/named_socket.h"
#include "runner/vm/caller_streams.h"
#include "runner/vm/guest_process.h"

namespace gantry::runner::vm {
namespace {

constexpr const char* kSocket = "enter";
constexpr size_t kMaxUnsent = 2 * kMaxAccountBytes + 2 * size_t{kOutputWindow};  // more than a guest may say unheard
constexpr int kPatience = 30;                                                    // seconds until it is executed

bool MayEnter(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == geteuid() || who.uid == 0);
}

}  // namespace

EntryServer::EntryServer(const Dir& pod, EventLoop& loop, GuestChannel& channel, uint16_t apps)
    : pod_(pod),
      loop_(loop),
      channel_(channel),
      apps_(apps),
      listener_(ListenIn(pod, kSocket, SOCK_STREAM | SOCK_NONBLOCK)) {
  loop_.Watch(listener_.get(), [this] { Accept(); });
}

EntryServer::~EntryServer() {
  loop_.Forget(listener_.get());
  for (const auto& [process, client] : clients_) {
    channel_.Forget(process);
    if (!client.socket)
      continue;
    loop_.Forget(client.socket.get());
    loop_.ForgetRoom(client.socket.get());
  }
  unlinkat(pod_.fd(), kSocket, 0);
}

void EntryServer::Accept() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  uint16_t process = apps_;
  while (clients_.contains(process)) ++process;
  if (!socket || process >= kMaxProcesses || !MayEnter(socket.get()))
    return;
  const int fd = socket.get();
  clients_.emplace(process, Client{std::move(socket), std::make_unique<FrameReader>(HostMaySend)});
  loop_.Watch(fd, [this, process] { Hear(process); });
}

// Room for output, without which the guest would wait to send the end of the process.
void EntryServer::GiveBack(uint16_t process, size_t bytes) {
  if (bytes > 0)
    channel_.Send(process, FrameType::kTaken, 0, BytesOf(static_cast<uint32_t>(bytes)));
}

// The client is gone, or is let go. Its process ends, and its number is free when the guest has said so.
void EntryServer::Drop(uint16_t process) {
  Client& client = clients_.at(process);
  loop_.Forget(client.socket.get());
  loop_.ForgetRoom(client.socket.get());
  client.socket.Reset();
  if (!channel_.Serves(process)) {
    clients_.erase(process);
    return;
  }
  const int32_t kill = SIGKILL;
  channel_.Send(process, FrameType::kSignal, 0, BytesOf(kill));
  channel_.Send(process, FrameType::kOutputClosed, 1, {});
  channel_.Send(process, FrameType::kOutputClosed, 2, {});
  GiveBack(process, std::exchange(client.taking, 0));
}

void EntryServer::Hear(uint16_t process) {
  Client& client = clients_.at(process);
  size_t size = 0;
  char* into = client.reader->Room(size);
  const ssize_t count = read(client.socket.get(), into, size);
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    Drop(process);
    return;
  }
  client.reader->Took(static_cast<size_t>(count));
  Frame frame;
  for (;;) {
    const auto result = client.reader->Next(frame);
    if (result == FrameReader::Result::kNone)
      return;
    if (result == FrameReader::Result::kBroken || !HandOn(client, process, frame)) {
      Drop(process);
      return;
    }
  }
}

// False for what breaks the protocol in its numbers, which are the process's end. The rest is for the guest to find.
bool EntryServer::HandOn(Client& client, uint16_t process, const Frame& frame) {
  const bool enters = frame.type == FrameType::kEnter;
  if (enters == client.entered || frame.type == FrameType::kJob)
    return false;
  if (enters) {
    client.entered = true;
    channel_.Serve(process, [this, process](const Frame& answer) { Take(process, answer); });
  }
  if (frame.type == FrameType::kParams && (client.params += frame.size) > kMaxBlobBytes)
    return false;
  if (frame.type == FrameType::kInput && frame.size > client.credit)
    return false;
  if (frame.type == FrameType::kTaken && frame.As<uint32_t>() > client.taking)
    return false;
  client.credit -= frame.type == FrameType::kInput ? frame.size : 0;
  client.taking -= frame.type == FrameType::kTaken ? frame.As<uint32_t>() : 0;
  channel_.Send(process, frame.type, frame.stream, {frame.payload, frame.size});
  return true;
}

// Of the guest.
void EntryServer::Take(uint16_t process, const Frame& frame) {
  Client& client = clients_.at(process);
  const bool last = frame.type == FrameType::kExit || frame.type == FrameType::kProblem;
  if (frame.type == FrameType::kCredit)
    client.credit += frame.As<uint32_t>();
  const size_t output = frame.type == FrameType::kOutput ? frame.size : 0;
  if (!client.socket) {
    GiveBack(process, output);
    if (last) {
      channel_.Forget(process);
      clients_.erase(process);
    }
    return;
  }
  client.taking += output;
  client.unsent += PrintFrame(0, frame.type, frame.stream, {frame.payload, frame.size});
  if (client.unsent.size() > kMaxUnsent || client.taking > kOutputWindow)
    channel_.Fail("does not keep to the protocol");
  if (last)
    channel_.Forget(process);
  loop_.WatchRoom(client.socket.get(), [this, process] { Write(process); });
  Write(process);
}

void EntryServer::Write(uint16_t process) {
  Client& client = clients_.at(process);
  const ssize_t count = send(client.socket.get(), client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL);
  if (count > 0)
    client.unsent.erase(0, static_cast<size_t>(count));
  if (!client.unsent.empty() && (count >= 0 || errno == EAGAIN || errno == EINTR))
    return;
  loop_.ForgetRoom(client.socket.get());
  // It heard of its process's end, or will never.
  if (!channel_.Serves(process))
    Drop(process);
}

namespace {

// The conversation of whoever enters with the runner.
class Entry {
 public:
  Entry(UniqueFd socket, EntryPlan plan);
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() { sigprocmask(SIG_SETMASK, &mask_before_, nullptr); }

  ExitStatus Run();

 private:
  void Send(FrameType type, uint8_t stream, std::string_view payload);
  void Write();
  void Read();
  bool Until(const std::function<bool()>& done);

  EntryPlan plan_;
  sigset_t mask_before_;
  EventLoop loop_;
  UniqueFd socket_;
  std::unique_ptr<FrameReader> reader_ = std::make_unique<FrameReader>(GuestMaySend);
  std::string unsent_;
  bool ended_ = false;  // the runner closed its end
  GuestProcess process_;
  CallerSignals signals_;
  CallerStreams streams_;
};

Entry::Entry(UniqueFd socket, EntryPlan plan)
    : plan_(std::move(plan)),
      mask_before_(BlockForwardedSignals()),
      socket_(std::move(socket)),
      process_(
          {.send = [this](FrameType type, uint8_t stream, std::string_view payload) { Send(type, stream, payload); },
           .fail =
               [](std::string_view did) { throw Error(ErrorKind::kFailed, "the virtual machine " + std::string(did)); },
           .failed = [this](const Report& report) { plan_.failed(report); }}),
      signals_(
          loop_, [this] { return process_.started(); }, [this](int32_t signal) { process_.Signal(signal); }),
      streams_(loop_, process_, signals_, plan_.wanted.terminal != 0, plan_.wanted.interactive != 0) {
  SetNonBlocking(socket_.get());
  loop_.Watch(socket_.get(), [this] { Read(); });
}

void Entry::Send(FrameType type, uint8_t stream, std::string_view payload) {
  unsent_ += PrintFrame(1, type, stream, payload);  // the runner gives it another number
  loop_.WatchRoom(socket_.get(), [this] { Write(); });
}

void Entry::Write() {
  const ssize_t count = send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
  if (count > 0)
    unsent_.erase(0, static_cast<size_t>(count));
  if (unsent_.empty() || (count < 0 && errno != EAGAIN && errno != EINTR))
    loop_.ForgetRoom(socket_.get());
}

void Entry::Read() {
  size_t size = 0;
  char* into = reader_->Room(size);
  const ssize_t count = read(socket_.get(), into, size);
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    ended_ = true;
    loop_.Forget(socket_.get());
    return;
  }
  reader_->Took(static_cast<size_t>(count));
  Frame frame;
  while (reader_->Next(frame) == FrameReader::Result::kFrame) process_.Take(frame);
}

// False when the process has ended before, or its machine.
bool Entry::Until(const std::function<bool()>& done) {
  bool late = false;
  const uint64_t timer = loop_.After(kPatience * 1000, [&] { late = true; });
  loop_.Run([&] { return done() || ended_ || late || process_.status() || signals_.ended_by() != 0; });
  loop_.Cancel(timer);
  if (late)
    throw Error(ErrorKind::kFailed, "the virtual machine did not start the process in time");
  return done();
}

ExitStatus Entry::Run() {
  Send(FrameType::kEnter, 0, BytesOf(plan_.wanted));
  bool started = Until([&] { return process_.has_root(); });
  if (started) {
    process_.SendBlob(FrameType::kParams, plan_.params(process_.accounts()));
    started = Until([&] { return process_.started(); });
  }
  if (signals_.ended_by() != 0)
    return {128 + signals_.ended_by(), false};
  if (!started)
    throw Error(ErrorKind::kFailed, plan_.whose + " has ended");
  plan_.started();
  streams_.Begin();
  loop_.Run([&] { return (process_.status() || ended_) && streams_.written(); });
  // With its machine it is killed, as with the pid namespace of an app.
  return ExitStatusOf(process_.status().value_or(SIGKILL));
}

}  // namespace

ExitStatus EnterGuest(const Dir& dir, EntryPlan plan) {
  UniqueFd socket = ConnectIn(dir, kSocket, SOCK_STREAM);
  if (!socket)
    throw Error(ErrorKind::kFailed, "the runner of " + plan.whose + " lets nobody enter",
                "is its application executed yet? look at its status");
  return Entry(std::move(socket), std::move(plan)).Run();
}

ExitStatus EnterGuest(const Dir& pod, uint16_t number, const AppPlan& app, const std::string& uuid,
                      const EnterOptions& options) {
  const RunConfig config = EnteredConfig(app, options);
  InitRequest request;
  EntryPlan plan{.whose = "app " + Quoted(app.name) + " of pod " + uuid,
                 .wanted = {.app = number,
                            .terminal = config.terminal ? 1U : 0U,
                            .interactive = config.interactive ? 1U : 0U,
                            .capabilities = CapabilitiesOfEntry(config)},
                 .params = {},
                 .failed = {}};
  plan.params = [&](const AccountFiles& accounts) {
    Credentials who = ResolveUser(accounts, config.user);
    who.groups.insert(who.groups.end(), config.groups.begin(), config.groups.end());
    request = EntryRequest(config, who, ChooseHostname(config, uuid), FilterFor(config));
    return PackInitParams(request);
  };
  plan.failed = [&](const Report& report) { throw EntrySetup::Explain(report, request.process).error; };
  return EnterGuest(pod, std::move(plan));
}

}  // namespace gantry::runner::vm
