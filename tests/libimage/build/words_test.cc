#include "libimage/build/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

WordRules WithVariables() {
  return {.variable = [](std::string_view name) -> std::optional<std::string> {
    if (name == "A")
      return "one two";
    if (name == "EMPTY")
      return "";
    return std::nullopt;
  }};
}

TEST(WordsTest, SplitsAtSpacesOutsideQuotes) {
  EXPECT_THAT(SplitWords("a  'b c' \"d e\"f\tg", {}), ElementsAre("a", "b c", "d ef", "g"));
  EXPECT_THAT(SplitWords("  ", {}), IsEmpty());
  EXPECT_THAT(SplitWords("''", {}), ElementsAre(""));
}

TEST(WordsTest, EscapesTakeTheMeaning) {
  EXPECT_THAT(SplitWords(R"(a\ b \"c "d\"e" "f\g")", {}), ElementsAre("a b", "\"c", "d\"e", "f\\g"));
  EXPECT_THAT(SplitWords("a` b", {.escape = '`'}), ElementsAre("a b"));
}

TEST(WordsTest, VariablesAreNotSplit) {
  EXPECT_THAT(SplitWords("$A x${A}y '$A' \\$A", WithVariables()), ElementsAre("one two", "xone twoy", "$A", "$A"));
  EXPECT_THAT(SplitWords("$A", {}), ElementsAre("$A"));
}

TEST(WordsTest, DefaultsAndAlternatives) {
  EXPECT_EQ(ExpandText("${B:-else} ${EMPTY:-else} ${A:-else}", WithVariables()), "else else one two");
  EXPECT_EQ(ExpandText("${A:+set}${B:+set}", WithVariables()), "set");
  EXPECT_EQ(ExpandText("${B:-${A}}", WithVariables()), "one two");
}

TEST(WordsTest, WithoutAColonAnEmptyValueCounts) {
  EXPECT_EQ(ExpandText("<${EMPTY-else}> <${B-else}>", WithVariables()), "<> <else>");
  EXPECT_EQ(ExpandText("<${EMPTY+set}> <${B+set}>", WithVariables()), "<set> <>");
  EXPECT_EQ(ExpandText("<${EMPTY?why}> <${A:?why}>", WithVariables()), "<> <one two>");
}

TEST(WordsTest, WhatIsRequiredAndMissingIsSaid) {
  for (const char* text : {"${B?no $A}", "${B:?no $A}", "${EMPTY:?no $A}"}) {
    const Error error = CaughtError([&] { ExpandText(text, WithVariables()); });
    EXPECT_EQ(error.kind(), ErrorKind::kFailed) << text;
    EXPECT_THAT(error.message(), ::testing::EndsWith(" has no value: no one two")) << text;
  }
}

TEST(WordsTest, ParametersOfAShellAreEmpty) {
  EXPECT_EQ(ExpandText("<$1> <$$> <$?x> <$ > <$/>", WithVariables()), "<> <> <x> <$ > <$/>");
}

TEST(WordsTest, RefusesWhatIsNotClosedOrUnknown) {
  for (const char* text : {"'a", "\"a", "${A"})
    EXPECT_EQ(CaughtError([&] { SplitWords(text, WithVariables()); }).kind(), ErrorKind::kCorrupt) << text;
  for (const char* text : {"${A#x}", "${}", "${1}"})
    EXPECT_EQ(CaughtError([&] { SplitWords(text, WithVariables()); }).kind(), ErrorKind::kUnsupported) << text;
}

TEST(WordsTest, NestedVariablesHaveABound) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "${B:-";
  text += std::string(100, '}');
  EXPECT_EQ(CaughtError([&] { ExpandText(text, WithVariables()); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
