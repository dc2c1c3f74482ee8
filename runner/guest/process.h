// The processes of the guest that the host speaks with, as vm/frame.h has it: the application and what was entered.
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runner/guest/channel.h"
#include "runner/setup.h"
#include "runner/vm/job.h"

namespace gantry::runner::guest {

// What processes are launched with, all of them.
struct Container {
  int init = -1;    // the container's init, executable
  int cgroup = -1;  // of the container
};

class Process {
 public:
  static constexpr size_t kPolls = 5;

  // The application of that number, with its own mounts and pids; network, IPC and host name are the machine's. `plan`
  // lacks only what belongs to the way there.
  void Start(uint16_t number, SetupPlan& plan, const Container& container, bool interactive);
  // Another, in the namespaces of the application `first`, whom the host has still to describe.
  void Enter(uint16_t number, const vm::EnterRequest& wanted, const Container& container, const Process& first);

  bool used() const { return used_; }
  bool ended() const { return ended_; }
  uint16_t app() const { return app_; }  // whose container it is in

  void Take(const Frame& frame);  // of the host

  // What to wait for, with room for output on the channel or without; and what came of it.
  void Wait(pollfd (&out)[kPolls], bool room) const;
  void Came(const pollfd (&came)[kPolls]);

  // Says that it cannot be entered: `what`.
  void Refuse(uint16_t number, const char* what);

  // Sends the end of one that has ended, when its output is sent, or as much of it as the host has room for in a hurry:
  // its application has ended, too. True when it did: then it is used no more.
  bool Finish(bool hurry);

 private:
  void Reset(uint16_t number);
  void MakeStreams(bool terminal, bool interactive);
  void Launch(SetupPlan& plan, const Container& container, uint64_t namespaces, int entered);
  void LaunchEntered();
  bool SendAccounts(int root);
  bool SendAccount(int root, const char* path, FrameType type);
  void TakeParams(const Frame& frame);
  void PassParams();
  bool PassStartListener();
  void BeginWaiting();
  void TakeConsole(int master);
  void HandleReports();
  bool HandleReport();
  void TakeInput(const Frame& frame);
  void EndInput();
  void DropInput(bool tell);
  void WriteInput();
  bool CopyOutput(size_t index);
  void Grant(size_t bytes);
  void Send(FrameType type, uint8_t stream = 0, const void* payload = nullptr, size_t size = 0);
  void Problem(const char* what, int error, bool image = false);

  static constexpr uint32_t kInputRoom = 64 * 1024;

  bool used_ = false;
  uint16_t number_ = 0, app_ = 0;
  bool terminal_ = false, interactive_ = false;
  bool wants_params_ = false;  // the host is to say who it is
  bool bundle_ = false;        // so it already knows, and need not look at the root
  bool failed_ = false;        // the last report said so
  bool started_ = false, ended_ = false, input_ends_ = false;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int control_ = -1;  // until it is executed
  int start_ = -1;    // where it waits to be started
  int status_ = 0;
  int first_ = -1;  // for one that is entered, until it is launched: a pidfd of the first
  uint64_t capabilities_ = 0;
  Container container_;
  char* params_ = nullptr;
  size_t params_size_ = 0, params_capacity_ = 0;
  int input_ = -1;  // what it reads from; a terminal's master is here and in output_[0]
  int output_[2] = {-1, -1};
  size_t window_ = 0;  // of output that may still be sent
  size_t credit_ = 0;  // of input that may still come
  size_t taken_ = 0;   // input that was written and is not yet credited again
  size_t pending_ = 0;
  char buffer_[kInputRoom];
};

// Appends a piece to memory of its own. False when it is too much, or there is none.
bool AppendPiece(char*& bytes, size_t& size, size_t& capacity, const char* piece, size_t more);

}  // namespace gantry::runner::guest
