#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "libsign/verify.h"
#include "tests/support/image_builder.h"

namespace gantry::sign {
namespace {

using ::testing::HasSubstr;

const image::Image& TestImage() {
  static const image::Image kMade = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello"}).Build();
  return kMade;
}

std::optional<Candidate> TestCandidate() {
  return Candidate{
      image::FetchedImage(TestImage(), image::DockerReference::Parse("h.example/foo:1"), Digest::Of("an index")), {}};
}

Policy Accepting() { return Policy::AcceptAnything("a test"); }
Policy Rejecting() { return Policy::Parse(R"({"default":[{"type":"reject"}]})", "test policy"); }
void ConfineNothing() {}

TEST(VerifyInChildTest, HandsBackWhatWasVouchedFor) {
  const auto verified = Verifier::VerifyInChild(Accepting(), ConfineNothing, TestCandidate);
  ASSERT_TRUE(verified);
  EXPECT_EQ(verified->image().descriptor, TestImage().descriptor);
  EXPECT_EQ(verified->image().manifest_bytes, TestImage().manifest_bytes);
  EXPECT_EQ(verified->image().config, TestImage().config);
  EXPECT_EQ(verified->name(), image::DockerReference::Parse("h.example/foo:1"));
  EXPECT_EQ(verified->index(), Digest::Of("an index"));
  EXPECT_EQ(verified->vouched_by(),
            Verifier::Verify(TestCandidate()->image, Accepting(), TestCandidate()->evidence).vouched_by());
}

TEST(VerifyInChildTest, ConfinesBeforeItOpens) {
  const pid_t parent = getpid();
  bool confined = false;
  Verifier::VerifyInChild(
      Accepting(), [&] { confined = true; },
      [&] {
        if (!confined || getpid() == parent)
          throw Error(ErrorKind::kFailed, "opened too early");
        return TestCandidate();
      });
  EXPECT_FALSE(confined) << "it was this process that was confined";
}

TEST(VerifyInChildTest, ARefusalComesBackAsItIs) {
  const Decision decision = Verifier::Decide(TestCandidate()->image, Rejecting(), TestCandidate()->evidence);
  try {
    Verifier::VerifyInChild(Rejecting(), ConfineNothing, TestCandidate);
    FAIL() << "it was verified";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kRefused);
    EXPECT_EQ(error.message(), decision.Refusal().message());
    EXPECT_EQ(error.hint(), decision.Refusal().hint());
  }
}

TEST(VerifyInChildTest, NoImageIsNoError) {
  EXPECT_FALSE(Verifier::VerifyInChild(Accepting(), ConfineNothing, [] { return std::optional<Candidate>(); }));
}

TEST(VerifyInChildTest, AChildThatDiesVouchesForNothing) {
  try {
    Verifier::VerifyInChild(Accepting(), ConfineNothing, []() -> std::optional<Candidate> {
      raise(SIGKILL);
      return std::nullopt;
    });
    FAIL() << "it was verified";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFailed);
    EXPECT_THAT(error.message(), HasSubstr("killed by signal 9"));
  }
}

}  // namespace
}  // namespace gantry::sign
