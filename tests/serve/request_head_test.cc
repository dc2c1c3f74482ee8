#include "serve/request_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace gantry::serve {
namespace {

// "refused", "body" or "none".
std::string Judged(const std::string& headers) {
  RequestHead head;
  const std::string text = "GET / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
  if (!std::all_of(text.begin(), text.end(), [&](char c) { return head.Take(c); }))
    return "refused";
  return head.has_body() ? "body" : "none";
}

TEST(RequestHeadTest, TakesHeadersAsTheyAre) {
  EXPECT_EQ(Judged(""), "none");
  EXPECT_EQ(Judged("Content-Length: 0\r\n"), "none");
  EXPECT_EQ(Judged("X-Empty:\r\nX_!#$%&'*+-.^`|~9:\t a:b % \xc3\xbc \r\n"), "none");
  EXPECT_EQ(Judged("Range: bytes=0-1\r\n"), "none");
}

TEST(RequestHeadTest, SeesThatABodyFollows) {
  for (const char* header :
       {"Content-Length: 1", "content-LENGTH:1", "Content-Length: 00", "Content-Length: +0", "Content-Length: 0, 5",
        "Content-Length: %30", "Content-Length:", "Content-Length: \t ", "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked", "transfer-encoding:", "Transfer-Encoding: identity"}) {
    EXPECT_EQ(Judged(header + std::string("\r\n")), "body") << header;
  }
}

TEST(RequestHeadTest, RefusesLinesThatNotEverybodyReadsAlike) {
  using namespace std::string_literals;
  for (const std::string& line :
       {"Content-Length: 5\n"s, "Transfer-Encoding: chunked\n"s, "Content-Length : 5\r\n"s, "Content-Length\0: 5\r\n"s,
        "Content-Length: 5\rX: y\r\n"s, "X: y\r\n chunked\r\n"s, "X: y\0z\r\n"s, "no colon\r\n"s, ": 5\r\n"s, "\n"s,
        "Transfer\tEncoding: chunked\r\n"s, "\xc3\xbc: y\r\n"s, "X: \x7f\r\n"s}) {
    EXPECT_EQ(Judged(line), "refused") << line;
  }
}

TEST(RequestHeadTest, BoundsWhatIsMatchedByRecursion) {
  EXPECT_EQ(Judged("Range: " + std::string(kMaxRangeBytes, '0') + "\r\n"), "none");
  EXPECT_EQ(Judged("range: " + std::string(kMaxRangeBytes + 1, '0') + "\r\n"), "refused");
}

}  // namespace
}  // namespace gantry::serve
