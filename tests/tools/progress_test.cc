#include "tools/progress.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "libimage/base/error.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A screen that remembers what it was given, and a clock that the test moves.
class ProgressTest : public ::testing::Test {
 protected:
  ProgressScreen Screen() {
    return {[this](std::string_view text) { writes_.emplace_back(text); }, [this] { return now_; },
            [this] { return size_; }};
  }

  // What a terminal shows after the writes: lines, with cursor-up and clear-below obeyed.
  std::vector<std::string> Shown() const {
    std::vector<std::string> lines(1);
    for (const std::string& text : writes_) {
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\033') {
          const size_t end = text.find_first_of("AJ", i);
          if (text[end] == 'A') {
            const size_t up = std::stoul(text.substr(i + 2));
            EXPECT_LT(up, lines.size()) << "moves above the first line";
            lines.resize(lines.size() - up);
            lines.back().clear();
          }
          i = end;
        } else if (text[i] == '\n') {
          lines.emplace_back();
        } else if (text[i] != '\r') {
          lines.back() += text[i];
        }
      }
    }
    lines.pop_back();
    return lines;
  }

  std::string All() const {
    std::string all;
    for (const std::string& text : writes_) {
      all += text;
    }
    return all;
  }

  std::vector<std::string> writes_;
  std::chrono::steady_clock::time_point now_ = std::chrono::steady_clock::time_point(seconds(1000));
  ProgressScreen::Size size_{100, 24};
};

TEST_F(ProgressTest, TerminalShowsBytesRateAndTimeLeftOfEveryTask) {
  const auto progress = TerminalProgress(Screen());
  const int first = progress->Begin("layer 1", 100 << 20);
  const int second = progress->Begin("layer 2", 0);
  now_ += seconds(10);
  progress->Advance(first, 50 << 20);
  progress->Advance(second, 3 << 20);
  now_ += milliseconds(100);
  progress->Advance(second, 0);
  const auto lines = Shown();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("layer 1  [####"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(" 50%  50.0 MiB of 100 MiB, "), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(" left"), std::string::npos) << lines[0];
  EXPECT_EQ(lines[1].find('%'), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find("layer 2  3.0 MiB, "), std::string::npos) << lines[1];
}

TEST_F(ProgressTest, RateSettlesOnTheSpeedOfTheLastSeconds) {
  const auto progress = TerminalProgress(Screen());
  const int task = progress->Begin("x", 1000ull << 20);
  for (int i = 0; i < 300; ++i) {
    now_ += milliseconds(100);
    progress->Advance(task, 1 << 20);
  }
  EXPECT_NE(Shown().back().find("10.0 MiB/s, 1:10 left"), std::string::npos) << Shown().back();
}

TEST_F(ProgressTest, TerminalIsNotDrawnMoreThanTenTimesASecond) {
  const auto progress = TerminalProgress(Screen());
  const int task = progress->Begin("x", 1000);
  const size_t before = writes_.size();
  for (int i = 0; i < 1000; ++i) {
    now_ += milliseconds(1);
    progress->Advance(task, 1);
  }
  EXPECT_GE(writes_.size() - before, 9u);
  EXPECT_LE(writes_.size() - before, 10u);
}

TEST_F(ProgressTest, EndedTasksStayAboveTheRunningOnes) {
  const auto progress = TerminalProgress(Screen());
  const int first = progress->Begin("first", 10);
  const int second = progress->Begin("second", 10);
  now_ += seconds(1);
  progress->Advance(second, 5);
  progress->Advance(first, 10);
  progress->End(first, "done");
  progress->End(first, "twice is ignored");
  const auto lines = Shown();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "first: done, 10 B");
  EXPECT_EQ(lines[1].substr(0, 6), "second");
}

TEST_F(ProgressTest, NeverWiderOrHigherThanTheScreen) {
  for (const int columns : {21, 40, 79, 80, 200}) {
    writes_.clear();
    size_ = {columns, 6};
    const auto progress = TerminalProgress(Screen());
    for (int i = 0; i < 20; ++i) {
      now_ += seconds(1);
      progress->Advance(progress->Begin("a label of some length " + std::to_string(i), 1 << 30), 1 << 29);
    }
    now_ += seconds(1);
    progress->Advance(1, 1);
    const auto lines = Shown();
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines.back().substr(0, 11), "and 17 more");
    for (const auto& line : lines) {
      EXPECT_LT(static_cast<int>(line.size()), columns);
    }
  }
}

TEST_F(ProgressTest, LabelsAndNotesCannotDriveTheTerminal) {
  for (const auto& make : {TerminalProgress, PlainProgress}) {
    writes_.clear();
    const auto progress = make(Screen());
    const int task = progress->Begin("evil\033[2J\n\x80name" + std::string(10000, 'x'), 0);
    now_ += seconds(9);
    progress->Advance(task, 1);
    progress->End(task, "no\033]0;te\007");
    EXPECT_EQ(All().find("\033[2J"), std::string::npos);
    EXPECT_EQ(All().find("\033]"), std::string::npos);
    EXPECT_NE(All().find("evil?[2J??name"), std::string::npos);
    EXPECT_LT(All().size(), 1000u);
  }
}

TEST_F(ProgressTest, MoreBytesThanAnnouncedStayAtHundredPercent) {
  const auto progress = TerminalProgress(Screen());
  const int task = progress->Begin("x", 10);
  now_ += seconds(1);
  progress->Advance(task, ~uint64_t{0});
  EXPECT_NE(Shown().back().find("100%"), std::string::npos) << Shown().back();
}

TEST_F(ProgressTest, PlainWritesALineEveryFiveSecondsAndOneAtTheEnd) {
  const auto progress = PlainProgress(Screen());
  const int task = progress->Begin("layer 1", 500);
  for (int i = 0; i < 11; ++i) {
    now_ += seconds(1);
    progress->Advance(task, 10);
  }
  EXPECT_EQ(writes_, (std::vector<std::string>{"layer 1: 10%, 50 B of 500 B, 10 B/s, 0:45 left\n",
                                               "layer 1: 20%, 100 B of 500 B, 10 B/s, 0:40 left\n"}));
  progress->End(task, "done");
  EXPECT_EQ(writes_.back(), "layer 1: done, 110 B\n");
}

TEST_F(ProgressTest, QuietSaysNothing) {
  CommonOptions options;
  options.quiet = true;
  ::testing::internal::CaptureStderr();
  {
    const auto progress = MakeProgress(options);
    progress->End(progress->Begin("x", 1), "done");
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(ProgressTest, WarningsGoAboveTheBars) {
  const auto progress = TerminalProgress(Screen());
  progress->Begin("x", 10);
  now_ += seconds(1);
  progress->Advance(1, 1);
  PrintBesideProgress("gantry: look out\n");
  const auto lines = Shown();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "gantry: look out");
}

TEST(ProgressThreads, ReportsFromSeveralThreadsAreAllCounted) {
  std::string last;
  const auto progress = TerminalProgress({[&](std::string_view text) { last = text; }, std::chrono::steady_clock::now,
                                          [] { return ProgressScreen::Size{}; }});
  const int task = progress->Begin("x", 0);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 1000; ++n) {
          progress->Advance(task, 1);
        }
      });
    }
  }
  progress->End(task, "done");
  EXPECT_NE(last.find("x: done, 3.9 KiB"), std::string::npos) << last;
}

TEST(FormatBytes, UsesUnitsOf1024WithAtMostFourCharacters) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1000 * 1024), "1.0 MiB");
  EXPECT_EQ(FormatBytes(314572800), "300 MiB");
  EXPECT_EQ(FormatBytes(~uint64_t{0}), "16.0 EiB");
}

TEST(FormatDuration, ShowsHoursOnlyWhenThereAreAny) {
  EXPECT_EQ(FormatDuration(seconds(7)), "0:07");
  EXPECT_EQ(FormatDuration(seconds(754)), "12:34");
  EXPECT_EQ(FormatDuration(seconds(3723)), "1:02:03");
  EXPECT_EQ(FormatDuration(seconds(-1)), "0:00");
}

TEST_F(ProgressTest, DeferredTellsNothingBeforeItMay) {
  bool ready = false;
  const std::unique_ptr<Progress> screen = PlainProgress(Screen());
  {
    const std::unique_ptr<Progress> deferred = DeferredProgress(*screen, [&] { return ready; });
    const int first = deferred->Begin("first", 2000);
    deferred->Advance(first, 2000);
    deferred->End(first, "done");
    const int second = deferred->Begin("second", 4000);
    deferred->Advance(second, 1000);
    now_ += seconds(10);
    EXPECT_EQ(All(), "");
    ready = true;
    deferred->Advance(second, 3000);
    EXPECT_NE(All().find("first: done, 2.0 KiB\n"), std::string::npos) << All();
    ready = false;
    deferred->End(second, "done");
    EXPECT_EQ(All().find("second: done"), std::string::npos) << All();
    ready = true;
  }
  EXPECT_NE(All().find("second: done, 3.9 KiB\n"), std::string::npos) << All();
}

TEST_F(ProgressTest, DeferredTellsNothingOfWhatFailed) {
  const std::unique_ptr<Progress> screen = PlainProgress(Screen());
  bool ready = false;
  const auto fail = [&] {
    const std::unique_ptr<Progress> deferred = DeferredProgress(*screen, [&] { return ready; });
    const int task = deferred->Begin("task", 2000);
    deferred->End(task, "done");
    ready = true;
    throw Error(ErrorKind::kFailed, "no room");
  };
  EXPECT_THROW(fail(), Error);
  EXPECT_EQ(All(), "");
}

}  // namespace
}  // namespace gantry::tools
