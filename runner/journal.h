// The output of an app as entries of systemd's journal (systemd's "Native Journal Protocol").
//
// A line is an entry: MESSAGE, PRIORITY (6 of standard output, 3 of standard error), SYSLOG_IDENTIFIER and
// CONTAINER_NAME, which are the app; CONTAINER_ID and CONTAINER_ID_FULL, the pod's, whole and its first 12 digits, as
// other runners have them; GANTRY_POD and GANTRY_APP; and CONTAINER_PARTIAL_MESSAGE=true for a line that goes on in the
// next.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "runner/pod.h"
#include "runner/pod_log.h"

namespace gantry::runner {

constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

class JournalWriter : public AppLog {
 public:
  // kUnsupported when nobody listens there.
  JournalWriter(const std::string& pod, const std::string& app, std::string socket = kJournalSocket);

 private:
  void WriteLine(Stream stream, std::string_view text, bool whole) override;
  bool Connect();
  std::string socket_path_, fields_;
  UniqueFd socket_;
};

// Where the output of an app of `pod`, which outlives this, goes by the driver of its plan. Throws as JournalWriter.
std::unique_ptr<AppLog> OpenAppLog(const Pod& pod, const std::string& app, LogLimits limits);

}  // namespace gantry::runner
