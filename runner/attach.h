// Streams of an app of a detached pod, for whoever looks in: the socket `attach` of the pod's directory.
//
// SOCK_SEQPACKET; the first byte of a packet says what it is. The client begins with kHello and the app's name.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/event_loop.h"
#include "runner/pod_log.h"

namespace gantry::runner {

constexpr size_t kMaxAttachPacket = 32 * 1024;
constexpr size_t kMaxAttached = 64;

enum class AttachPacket : char {
  kHello = 'h',
  kInput = 'i',
  kEndOfInput = 'e',
  kSize = 'w',  // rows and columns, two uint16_t
  kOutput = '1',
  kError = '2',
  kExit = 'x',  // a code in decimal
};

// The server's side: copies go to every client; one that does not read is let go.
class AttachServer {
 public:
  struct App {
    std::function<void(std::string_view)> input;
    std::function<void()> end_of_input;
    std::function<void(uint16_t, uint16_t)> resize;
  };
  // Makes the socket in `dir`, which must outlive this, as the loop must.
  AttachServer(const Dir& dir, EventLoop& loop);
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;
  ~AttachServer();

  void Serve(const std::string& app, App functions) { apps_[app] = std::move(functions); }
  void Output(const std::string& app, Stream stream, std::string_view bytes);
  void Exited(const std::string& app, int code);

 private:
  struct Client {
    UniqueFd socket;
    std::string app;  // empty until it said
  };
  void Accept();
  void Hear(int fd);
  void Drop(int fd);
  void SendAll(const std::string& app, const std::string& packet);
  const Dir& dir_;
  EventLoop& loop_;
  UniqueFd listener_;
  std::map<int, Client> clients_;
  std::map<std::string, App> apps_;
};

struct AttachOptions {
  std::string app;
  bool input = false;                    // what we read goes to the app
  bool terminal = false;                 // it has one: ours goes raw, and its size is taken over
  std::string detach_keys = "\x10\x11";  // ^P ^Q
};

// Copies the streams until the app ends or we detach (code 0). kNotFound where nobody serves.
ExitStatus Attach(const Dir& pod, const AttachOptions& options);

}  // namespace gantry::runner
