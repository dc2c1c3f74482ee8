// sd_notify(3) for an app: a socket of its pod, whose messages go on to the socket that systemd gave us.
//
// systemd believes the processes of a service's control group, which an app is not in, and by default the main process
// alone, which we are. So it hears them from us, with the descriptors that come with them. Process ids are left out:
// those that an app knows are of its own namespace; and so is who else may speak for the service, which is the unit's
// to say.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "runner/config.h"

namespace gantry::runner {

constexpr size_t kMaxNotifyBytes = 4096;  // of one message: systemd ignores a longer one, and so do we

// What shows the directory with the socket to an app, and where the socket is then.
Volume NotifyVolume();
constexpr const char* kNotifyPlace = "/run/notify/notify.sock";
bool IsNotifyVolume(const Volume& volume);

class NotifyRelay {
 public:
  // `pod` is the directory of a pod with an app that has the volume; `to` the value of NOTIFY_SOCKET. kFailed when
  // nobody hears there.
  static NotifyRelay Open(const Dir& pod, const std::string& to);

  int fd() const { return from_.get(); }
  // Of what waits, so that whoever says much keeps us from nothing else. False when none waits, or nobody heard it.
  bool PassOne();
  void PassLastWords();  // what waits when the app has ended, as long as it is heard

 private:
  NotifyRelay(UniqueFd from, UniqueFd to) : from_(std::move(from)), to_(std::move(to)) {}
  UniqueFd from_, to_;
};

// Says one message ourselves. False and errno when nobody hears it.
bool Notify(const std::string& to, std::string_view message);

// A message as it goes on: without lines that are not an app's to say, and, where it says READY=1, with `main`; that
// comes in a message before it where it has no room left.
std::vector<std::string> RelayedMessages(std::string_view message, pid_t main);

}  // namespace gantry::runner
