// Logs of apps: their form, their bounds, and what readers see of them.
#include "runner/pod_log.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::TempDir;

class PodLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> Read(LogReader& reader) const {
    std::vector<std::string> out;
    reader.Read([&](const LogLine& line) {
      out.push_back((line.stream == Stream::kOutput ? "o" : "e") + std::string(line.whole ? "F" : "P") + ":" +
                    std::string(line.text));
    });
    return out;
  }
  TempDir temp_;
  Dir dir_ = Dir::Open(temp_.path());
};

TEST_F(PodLogTest, LinesComeBackWhole) {
  LogWriter writer(dir_, "app", {});
  LogReader reader(dir_, "app");
  writer.Write(Stream::kOutput, "one\ntw");
  writer.Write(Stream::kError, "err\n");
  EXPECT_EQ(Read(reader), (std::vector<std::string>{"oF:one", "eF:err"}));
  writer.Write(Stream::kOutput, "o\n\nthree");
  EXPECT_EQ(Read(reader), (std::vector<std::string>{"oF:two", "oF:"}));
  writer.Flush();
  EXPECT_EQ(Read(reader), (std::vector<std::string>{"oP:three"}));
  EXPECT_FALSE(reader.Read([](const LogLine&) {}));
}

TEST_F(PodLogTest, LongLinesAreSplit) {
  LogWriter writer(dir_, "app", {});
  LogReader reader(dir_, "app");
  writer.Write(Stream::kOutput, std::string(2 * kMaxLogLine + 5, 'x') + "\n");
  const auto lines = Read(reader);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(lines[0].starts_with("oP:x"));
  EXPECT_EQ(lines[2], "oF:xxxxx");
}

TEST_F(PodLogTest, FilesAreBoundedInSizeAndNumber) {
  LogWriter writer(dir_, "app", {1000, 3});
  for (int i = 0; i < 200; ++i) writer.Write(Stream::kOutput, "line " + std::to_string(i) + "\n");
  EXPECT_EQ(dir_.List(), (std::vector<std::string>{"app.log", "app.log.1", "app.log.2"}));
  for (const std::string& name : dir_.List()) EXPECT_LE(dir_.Stat(RelPath::Parse(name))->st_size, 1000);
  LogReader reader(dir_, "app");
  const auto lines = Read(reader);
  EXPECT_EQ(lines.back(), "oF:line 199");
  for (size_t i = 1; i < lines.size(); ++i) EXPECT_EQ(lines[i], "oF:line " + std::to_string(200 - lines.size() + i));
}

TEST_F(PodLogTest, AReaderFollowsOverRotation) {
  LogWriter writer(dir_, "app", {200, 4});
  LogReader reader(dir_, "app");
  std::vector<std::string> all;
  for (int i = 0; i < 50; ++i) {
    writer.Write(Stream::kOutput, "line " + std::to_string(i) + "\n");
    for (const std::string& line : Read(reader)) all.push_back(line);
  }
  ASSERT_EQ(all.size(), 50U);
  EXPECT_EQ(all[49], "oF:line 49");
}

TEST_F(PodLogTest, OfAnotherAppIsAnother) {
  LogWriter writer(dir_, "app", {});
  writer.Write(Stream::kOutput, "x\n");
  LogReader reader(dir_, "other");
  EXPECT_TRUE(Read(reader).empty());
}

TEST(ParseLogLine, TakesOnlyWhatWasWritten) {
  EXPECT_EQ(ParseLogLine("T stdout F a b")->text, "a b");
  EXPECT_EQ(ParseLogLine("T stderr P ")->text, "");
  for (const char* text : {"", "T", "T stdout", "T stdin F x", "T stdout X x"})
    EXPECT_FALSE(ParseLogLine(text)) << text;
}

}  // namespace
}  // namespace gantry::runner
