#include "libimage/layer/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::image {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Listing ListingOf(const std::vector<Entry>& entries, Listing::Times times = Listing::Times::kForget) {
  Listing listing(times);
  for (const Entry& entry : entries) listing.Add(entry);
  listing.Finish();
  return listing;
}

// "+ PATH", "- PATH", "~ PATH WAY...".
std::vector<std::string> Found(const Listing& before, const Listing& after) {
  std::vector<std::string> out;
  CompareTrees(before, after, [&](const PathDifference& difference) {
    std::string line = difference.before == nullptr ? "+ " : difference.after == nullptr ? "- " : "~ ";
    line += difference.path;
    for (const std::string_view way : difference.ways) line.append(" ").append(way);
    for (const std::string_view name : difference.xattrs) line.append(" xattr:").append(name);
    out.push_back(line);
  });
  return out;
}
std::vector<std::string> Found(const std::vector<Entry>& before, const std::vector<Entry>& after) {
  return Found(ListingOf(before), ListingOf(after));
}

Entry File(std::string name) { return {.name = std::move(name), .mode = 0644}; }

std::vector<std::string> ConfigFound(const std::function<void(ImageConfig&)>& change) {
  ImageConfig before;
  before.platform = {"linux", "amd64", "", ""};
  before.entrypoint = {"/app"};
  before.env = {"A=1", "B=2"};
  before.labels = {{"l", "1"}};
  ImageConfig after = before;
  change(after);
  std::vector<std::string> out;
  for (const ConfigDifference& difference : CompareConfigs(before, after)) {
    out.push_back(difference.field + (difference.name.empty() ? "" : " " + difference.name) + " " +
                  json::Print(difference.before) + " " + json::Print(difference.after));
  }
  return out;
}

TEST(DifferenceTest, PathsAreAddedRemovedOrChangedInOneOrder) {
  EXPECT_THAT(Found({File("a"), File("c"), File("d/x")}, {File("b"), File("c"), File("z")}),
              ElementsAre("- a", "+ b", "- d", "- d/x", "+ z"));
  EXPECT_THAT(Found({File("a")}, {File("a")}), IsEmpty());
}

TEST(DifferenceTest, EveryAttributeIsNamed) {
  Entry other = File("a");
  other.mode = 0600;
  other.gid = 7;
  EXPECT_THAT(Found({File("a")}, {other}), ElementsAre("~ a mode owner"));
  EXPECT_THAT(Found({File("a")}, {{.name = "a", .type = EntryType::kDirectory, .mode = 0644}}),
              ElementsAre("~ a type"));
  EXPECT_THAT(Found({{.name = "a", .type = EntryType::kSymlink, .link = "x"}},
                    {{.name = "a", .type = EntryType::kSymlink, .link = "y"}}),
              ElementsAre("~ a target"));
  EXPECT_THAT(Found({{.name = "a", .type = EntryType::kCharDevice, .device_major = 1}},
                    {{.name = "a", .type = EntryType::kCharDevice, .device_minor = 1}}),
              ElementsAre("~ a device"));
}

TEST(DifferenceTest, ContentIsComparedByItsHash) {
  const auto with = [](std::string_view content) {
    Listing listing;
    Entry file = File("a");
    file.size = content.size();
    listing.Add(file);
    listing.Write(AsBytes(content));
    listing.Finish();
    return listing;
  };
  EXPECT_THAT(Found(with("one"), with("two")), ElementsAre("~ a content"));
  EXPECT_THAT(Found(with("one"), with("three")), ElementsAre("~ a size content"));
}

TEST(DifferenceTest, ExtendedAttributesAreNamed) {
  Entry before = File("a"), after = File("a");
  before.xattrs = {{"user.a", "1"}, {"user.b", "1"}, {"user.c", "1"}};
  after.xattrs = {{"user.b", "2"}, {"user.c", "1"}, {"user.d", "1"}};
  EXPECT_THAT(Found({before}, {after}), ElementsAre("~ a xattr:user.a xattr:user.b xattr:user.d"));
}

TEST(DifferenceTest, NamesOfOneFileAreOtherThanTwoFiles) {
  const Entry link{.name = "b", .type = EntryType::kHardLink, .link = "a"};
  EXPECT_THAT(Found({File("a"), link}, {File("a"), File("b")}), ElementsAre("~ b link"));
}

TEST(DifferenceTest, TimesCountWhereTheyAreKept) {
  Entry later = File("a");
  later.mtime = {1, 5};
  EXPECT_THAT(Found({File("a")}, {later}), IsEmpty());
  const auto keep = Listing::Times::kKeep;
  EXPECT_THAT(Found(ListingOf({File("a")}, keep), ListingOf({later}, keep)), ElementsAre("~ a time"));
}

TEST(DifferenceTest, ConfigurationsAreComparedByWhatTheyExecute) {
  EXPECT_THAT(ConfigFound([](ImageConfig& c) {
                c.entrypoint = {}, c.cmd = {"/app"}, c.working_dir = "/", c.author = "x", c.stop_signal = "TERM";
              }),
              IsEmpty());
  EXPECT_THAT(ConfigFound([](ImageConfig& c) { c.cmd = {"x"}, c.user = "app", c.stop_signal = "9"; }),
              ElementsAre(R"(args ["/app"] ["/app","x"])", R"(user "0:0" "app")", "stop 15 9"));
  EXPECT_THAT(ConfigFound([](ImageConfig& c) {
                c.labels = {{"l", "2"}, {"m", ""}};
              }),
              ElementsAre(R"(label l "1" "2")", R"(label m null "")"));
}

TEST(DifferenceTest, VariablesDifferByNameAndElseByTheirOrder) {
  EXPECT_THAT(ConfigFound([](ImageConfig& c) {
                c.env = {"B=3", "C=1"};
              }),
              ElementsAre(R"(env A "1" null)", R"(env B "2" "3")", R"(env C null "1")"));
  EXPECT_THAT(ConfigFound([](ImageConfig& c) {
                c.env = {"B=2", "A=1"};
              }),
              ElementsAre(R"(env ["A=1","B=2"] ["B=2","A=1"])"));
}

}  // namespace
}  // namespace gantry::image
