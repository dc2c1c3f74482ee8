#include "runner/own_ids.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::HasSubstr;

class OwnIdsTest : public ::testing::Test {
 protected:
  OwnIds Claim(uint32_t count, const std::string& subuid, const std::string& subgid) {
    return OwnIds::Claim(count, subuid, subgid, OpenFile(dir_.path() + "/ids", O_RDWR | O_CREAT, 0600));
  }
  TempDir dir_;
};

constexpr const char* kUids = "ann:5000:9000\ncontainers:100000:131072\ncontainers:900000:65536\n";
constexpr const char* kGids = "containers:300000:400000\n";

TEST_F(OwnIdsTest, ClaimsNeverOverlapAndEndWithWhoHasThem) {
  const OwnIds a = Claim(65536, kUids, kGids);
  std::optional<OwnIds> b = Claim(65536, kUids, kGids);
  const OwnIds c = Claim(65536, kUids, kGids);
  EXPECT_EQ(a.map().uids, (std::vector<IdRange>{{0, 100000, 65536}}));
  EXPECT_EQ(a.map().gids, (std::vector<IdRange>{{0, 300000, 65536}}));
  EXPECT_EQ(b->map().uids, (std::vector<IdRange>{{0, 165536, 65536}}));
  EXPECT_EQ(c.map().uids, (std::vector<IdRange>{{0, 900000, 65536}}));
  const Error error = CaughtError([&] { Claim(65536, kUids, kGids); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.message(), HasSubstr("other pods have all ids of 'containers' in /etc/subuid"));
  b.reset();
  EXPECT_EQ(Claim(2000, kUids, kGids).map().uids, (std::vector<IdRange>{{0, 165536, 2000}}));
}

TEST_F(OwnIdsTest, ADuplicateOfTheDescriptorHoldsTheClaim) {
  std::optional<OwnIds> a = Claim(65536, "containers:100000:65536\n", kGids);
  UniqueFd kept(fcntl(a->fd(), F_DUPFD_CLOEXEC, 3));
  a.reset();
  EXPECT_THROW(Claim(1000, "containers:100000:65536\n", kGids), Error);
  kept.Reset();
  EXPECT_NO_THROW(Claim(1000, "containers:100000:65536\n", kGids));
}

TEST_F(OwnIdsTest, WithoutALargeRangeItIsRefusedWithALineToAdd) {
  for (const char* subuid : {"", "ann:100000:65536\n", "containers:100000:65535\n", "containers:0:65536\n"}) {
    const Error error = CaughtError([&] { Claim(65536, subuid, kGids); });
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << subuid;
    EXPECT_THAT(error.hint(), HasSubstr("containers:2147483648:1073741824"));
  }
}

TEST_F(OwnIdsTest, TheWholeRangeOfIdsCanBeClaimed) {
  const OwnIds all = Claim(65536, "containers:2147483647:2147483648\n", "containers:2147483647:2147483648\n");
  EXPECT_EQ(all.map().OutsideUid(33), 2147483680U);
}

}  // namespace
}  // namespace gantry::runner
