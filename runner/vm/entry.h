// One more process in the container of a running guest: what EnteredProcess (enter.h) is for namespaces.
//
// Whoever enters has the process's streams and speaks the protocol of the guest's port (frame.h) with the runner of the
// pod, over the socket `enter` of the pod's directory; the runner, which has the port, hands the frames on under the
// number that it gave the process. The user of the runner and root may enter.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/enter.h"
#include "runner/event_loop.h"
#include "runner/protocol.h"
#include "runner/user.h"
#include "runner/vm/guest_channel.h"

namespace gantry::runner::vm {

class EntryServer {
 public:
  // Makes the socket in `pod`, once the applications are started; `apps` is how many there are. All three must outlive
  // this.
  EntryServer(const Dir& pod, EventLoop& loop, GuestChannel& channel, uint16_t apps);
  EntryServer(const EntryServer&) = delete;
  EntryServer& operator=(const EntryServer&) = delete;
  ~EntryServer();

 private:
  struct Client {
    UniqueFd socket;  // none: it went away, and the process is to end
    std::unique_ptr<FrameReader> reader;
    bool entered = false;
    size_t params = 0;  // bytes, so far
    size_t credit = 0;  // of input
    size_t taking = 0;  // bytes of output that it has not said to have taken
    std::string unsent = {};
  };
  void Accept();
  void Hear(uint16_t process);
  bool HandOn(Client& client, uint16_t process, const Frame& frame);
  void Take(uint16_t process, const Frame& frame);
  void Write(uint16_t process);
  void Drop(uint16_t process);
  void GiveBack(uint16_t process, size_t bytes);

  const Dir& pod_;
  EventLoop& loop_;
  GuestChannel& channel_;
  uint16_t apps_;
  UniqueFd listener_;
  std::map<uint16_t, Client> clients_;
};

// A process that is to enter, whatever it was described by.
struct EntryPlan {
  std::string whose;  // "app 'x' of pod Y", for messages
  EnterRequest wanted;
  std::function<std::string(const AccountFiles&)> params;  // packed, out of the files of its container
  std::function<void(const Report&)> failed;               // throws why it was not executed
  std::function<void()> started = [] {};
};

// Runs it over the socket in `dir`, with our descriptors 0 to 2, our terminal and our signals, and waits for it.
ExitStatus EnterGuest(const Dir& dir, EntryPlan plan);

// Runs a process in the container of `app`, of that number, in the machine of the pod whose directory is `pod`, with
// our descriptors 0 to 2, our terminal and our signals, and waits for it. Errors as of EnteredProcess::Start; kNotFound
// for a pod whose runner does not serve.
ExitStatus EnterGuest(const Dir& pod, uint16_t number, const AppPlan& app, const std::string& uuid,
                      const EnterOptions& options);

}  // namespace gantry::runner::vm
