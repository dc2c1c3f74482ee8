// What two processes of one program say to each other, and what the two halves of gantry-serve make of it. Who waits
// for one process and who hears many get the same out of the same bytes, in whatever pieces they come.
#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "serve/order.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Require;
using namespace gantry;  // NOLINT(google-build-using-namespace): a file of a page

namespace {

constexpr MessageBounds kBounds{50, 5000, "the other process"};

struct Heard {
  std::vector<Message> messages;
  std::string error = {};
};

bool Same(const Message& a, const Message& b) { return a.kind == b.kind && a.fields == b.fields; }

// By `hear`, until it throws or has nothing more.
template <typename Hear>
void HearAll(Heard& out, Hear hear) {
  try {
    while (std::optional<Message> message = hear()) out.messages.push_back(*std::move(message));
  } catch (const Error& error) {
    out.error = "error: " + error.message();  // which may be empty
  }
}

Heard ByBuffer(std::string_view text, size_t piece) {
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  MessageBuffer buffer(kBounds);
  Heard out;
  while (!text.empty() && out.error.empty()) {
    WriteFull(theirs.get(), AsBytes(text.substr(0, piece)), "a socket");
    text.remove_prefix(std::min(piece, text.size()));
    Require(buffer.Fill(ours.get()));
    HearAll(out, [&] { return buffer.Next(); });
  }
  return out;
}

Heard ByWaiting(std::string_view text) {
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  WriteFull(theirs.get(), AsBytes(text), "a socket");
  theirs.Reset();
  Heard out;
  HearAll(out, [from = ours.get()] { return ReceiveMessage(from, kBounds); });
  return out;
}

void CheckBounds(const Message& message) {
  size_t bytes = 0;
  for (const std::string& field : message.fields) bytes += field.size();
  Require(message.fields.size() <= kBounds.fields && bytes <= kBounds.bytes);
}

void CheckServe(const Message& message) {
  if (const auto order = serve::Order::FromMessage(message)) {
    const Message again = order->ToMessage();
    Require(again.fields.size() == message.fields.size() && Same(again, serve::Order::FromMessage(again)->ToMessage()));
  }
  const auto answer = serve::Answer::FromMessage(message);
  if (!answer)
    return;
  Require(Same(answer->ToMessage(), serve::Answer::FromMessage(answer->ToMessage())->ToMessage()));
  std::optional<serve::Record> record;
  if (gantry::fuzz::Accepts([&] { record = serve::Record::Parse(answer->text); })) {
    const std::string printed = record->ToJson();
    Require(serve::Record::Parse(printed).ToJson() == printed);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, std::min<size_t>(size, 50'000));
  const Heard waited = ByWaiting(text);
  for (const size_t piece : {size / 40 + 1, size_t{4096}}) {
    const Heard heard = ByBuffer(text, piece);
    // What was cut off at the end is an error only to who waited for it.
    Require(heard.error.empty() || heard.error == waited.error);
    Require(heard.messages.size() == waited.messages.size());
    for (size_t i = 0; i < heard.messages.size(); ++i) Require(Same(heard.messages[i], waited.messages[i]));
  }
  for (const Message& message : waited.messages) {
    CheckBounds(message);
    CheckServe(message);
  }
  return 0;
}
