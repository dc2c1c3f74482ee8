// One process of a guest as the host sees it, from its root to its end (frame.h): what may come when, and how much.
//
// Where its frames come from and go to says whoever makes it: the guest's channel, or a socket of the runner that has
// the channel. Nothing of the guest is kept but what is on its way out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runner/protocol.h"
#include "runner/user.h"
#include "runner/vm/frame.h"

namespace gantry::runner::vm {

class GuestProcess {
 public:
  struct Surroundings {
    std::function<void(FrameType, uint8_t stream, std::string_view payload)> send;
    // Throws what the guest did.
    std::function<void(std::string_view did)> fail;
    // What went wrong on the way to its execution; may throw.
    std::function<void(const Report&)> failed;
    // Where its output goes; Taken is to be called for all of it, sooner or later.
    std::function<void(uint8_t stream, std::string_view bytes)> output = [](uint8_t, std::string_view) {};
    // The answer of room() has changed.
    std::function<void()> room_changed = [] {};
  };
  explicit GuestProcess(Surroundings around) : around_(std::move(around)) {}

  void Take(const Frame& frame);
  void SetStreams(std::function<void(uint8_t, std::string_view)> output, std::function<void()> room_changed);

  bool has_root() const { return has_root_; }  // its account files are here
  const AccountFiles& accounts() const { return accounts_; }
  bool created() const { return created_; }  // it waits for Start
  bool started() const { return started_; }  // or a report said why not
  std::optional<int> status() const { return status_; }

  // All pieces of kJob or kParams. kUnsupported when that is too much.
  void SendBlob(FrameType type, std::string_view bytes);
  void Start();
  // How many bytes of input may be sent; 0 when it takes none any more, too.
  size_t room() const { return takes_input_ ? credit_ : 0; }
  bool takes_input() const { return takes_input_; }
  void Input(std::string_view bytes);  // at most room()
  void EndInput();
  void Signal(int32_t number);
  void Resize(uint16_t rows, uint16_t columns);
  void Taken(size_t bytes);           // of its output
  void OutputClosed(uint8_t stream);  // nobody reads it any more

 private:
  void TakeEarly(const Frame& frame);
  void TakeOutput(const Frame& frame);
  void Broken();

  Surroundings around_;
  AccountFiles accounts_;
  bool has_root_ = false, created_ = false, started_ = false, takes_input_ = true;
  uint32_t credit_ = 0;
  size_t unread_ = 0;  // output that Taken was not called for
  std::optional<int> status_;
};

}  // namespace gantry::runner::vm
