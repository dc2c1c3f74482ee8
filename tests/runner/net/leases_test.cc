#include "runner/net/leases.h"

#include <gtest/gtest.h>
#include <sys/file.h>

#include <filesystem>
#include <fstream>

#include "runner/net/private_network.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;

constexpr Subnet kFour{0x0A000000, 29};  // .1 is the host's, .2 to .6 are pods', .7 is broadcast

// A pod that lives as long as this does.
class LivingPod {
 public:
  LivingPod(const TempDir& at, const std::string& name) : path_(at.path() + "/" + name) {
    std::filesystem::create_directories(path_);
    file_ = OpenFile(path_ + "/image", O_RDWR | O_CREAT);
    flock(file_.get(), LOCK_EX);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd file_;
};

TEST(Leases, GivesEachPodAnotherAddressAndAFreeOneLast) {
  const TempDir temp;
  const std::string book = temp.path() + "/book";
  const LivingPod a(temp, "a"), b(temp, "b");
  EXPECT_EQ(ToString(LeaseBook::Open(book).Take(kFour, a.path(), {})), "10.0.0.2");
  EXPECT_EQ(ToString(LeaseBook::Open(book).Take(kFour, b.path(), {})), "10.0.0.3");
  EXPECT_TRUE(LeaseBook::Open(book).Release(a.path()));
  EXPECT_FALSE(LeaseBook::Open(book).Release(a.path()));
  EXPECT_EQ(ToString(LeaseBook::Open(book).Take(kFour, a.path(), {})), "10.0.0.4");
}

TEST(Leases, EndWithTheirPods) {
  const TempDir temp;
  const std::string book = temp.path() + "/book";
  const LivingPod living(temp, "living");
  {
    const LivingPod dead(temp, "dead");
    LeaseBook::Open(book).Take(kFour, dead.path(), {{0, 80, 80, false}});
    EXPECT_EQ(LeaseBook::Open(book).leases().size(), 1U);
  }
  LeaseBook after = LeaseBook::Open(book);
  EXPECT_TRUE(after.leases().empty());
  EXPECT_TRUE(after.removed_dead());
  after.Take(kFour, living.path(), {{0, 80, 80, false}});
}

TEST(Leases, AreNoneThatWereNotWrittenWhole) {
  const TempDir temp;
  const std::string book = temp.path() + "/book";
  std::filesystem::create_directories(book);
  std::ofstream(book + "/10.0.0.2") << "{\"pod\":";
  std::ofstream(book + "/10.0.0.3") << "";
  std::ofstream(book + "/last") << "nonsense";
  const LivingPod pod(temp, "a");
  LeaseBook opened = LeaseBook::Open(book);
  EXPECT_TRUE(opened.leases().empty());
  EXPECT_EQ(ToString(opened.Take(kFour, pod.path(), {})), "10.0.0.2");
}

TEST(Leases, AreRefusedWhenAllAreTakenOrAPortIs) {
  const TempDir temp;
  const std::string book = temp.path() + "/book";
  std::vector<LivingPod> pods;
  pods.reserve(6);
  for (int i = 0; i < 6; ++i) pods.emplace_back(temp, std::to_string(i));
  LeaseBook opened = LeaseBook::Open(book);
  opened.Take(kFour, pods[0].path(), {{0x7F000001, 80, 1, false}});
  EXPECT_EQ(CaughtError([&] { opened.Take(kFour, pods[1].path(), {{0, 80, 1, false}}); }).kind(), ErrorKind::kFailed);
  opened.Take(kFour, pods[1].path(), {{0, 80, 1, true}});
  for (int i = 2; i < 5; ++i) opened.Take(kFour, pods[static_cast<size_t>(i)].path(), {});
  EXPECT_EQ(CaughtError([&] { opened.Take(kFour, pods[5].path(), {}); }).kind(), ErrorKind::kFailed);
}

TEST(Leases, AreReadAsTheyWereWritten) {
  const Lease lease{5, "/a\nb", {{0x0A000001, 80, 81, true}, {0, 1, 2, false}}};
  EXPECT_EQ(ParseLease(PrintLease(lease), 5), lease);
  for (const char* text : {"", "{}", R"({"pod":"/x","ports":["80"]})", R"({"pod":"/x","ports":["1-2:1-2"]})"})
    EXPECT_THROW(ParseLease(text, 1), Error) << text;
}

TEST(Table, HasAnElementForEachPublishedPort) {
  const std::string text = TableOf(
      "n", kFour,
      {{0x0A000002, "/a", {{0, 80, 81, false}, {0x0A000009, 53, 54, true}}}, {0x0A000003, "/b", {{0, 82, 83, false}}}});
  EXPECT_NE(text.find("elements = { tcp . 80 : 10.0.0.2 . 81, tcp . 82 : 10.0.0.3 . 83 }"), std::string::npos) << text;
  EXPECT_NE(text.find("elements = { 10.0.0.9 . udp . 53 : 10.0.0.2 . 54 }"), std::string::npos) << text;
  EXPECT_EQ(TableOf("n", kFour, {}).find("elements"), std::string::npos);
}

}  // namespace
}  // namespace gantry::runner
