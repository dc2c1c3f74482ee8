#include "libimage/build/containerfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/build/script.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Error ParseError(const std::string& text) {
  return CaughtError([&] { Containerfile::Parse(text); });
}

TEST(ContainerfileTest, StagesHaveBasesNamesAndSteps) {
  const Containerfile file = Containerfile::Parse(
      "ARG V=1\n"
      "FROM base:$V AS Builder\n"
      "RUN make\n"
      "# a comment\n"
      "from --platform=linux/amd64 scratch\n"
      "COPY --from=builder --chown=1:2 /a /b\n");
  ASSERT_EQ(file.stages.size(), 2U);
  EXPECT_EQ(file.arguments.at(0).text, "V=1");
  EXPECT_EQ(file.stages[0].from.text, "base:$V");
  EXPECT_EQ(file.stages[0].name, "builder");
  EXPECT_EQ(file.stages[1].from.flags.at(0).second, "linux/amd64");
  const Instruction& copy = file.stages[1].steps.at(0);
  EXPECT_EQ(copy.line, 6U);
  EXPECT_EQ(copy.text, "/a /b");
  EXPECT_EQ(copy.ToString(), "COPY --from=builder --chown=1:2 /a /b");
}

TEST(ContainerfileTest, LinesContinueOverCommentsAndEmptyOnes) {
  const Containerfile file = Containerfile::Parse("FROM a\nRUN one && \\\n  # why\n\n  two\nRUN three\n");
  EXPECT_EQ(file.stages[0].steps[0].text, "one &&   two");
  EXPECT_EQ(file.stages[0].steps[1].line, 6U);
}

TEST(ContainerfileTest, TheEscapeCanBeChosen) {
  const Containerfile file = Containerfile::Parse("# escape=`\nFROM a\nRUN dir c:\\ `\n x\n");
  EXPECT_EQ(file.escape, '`');
  EXPECT_EQ(file.stages[0].steps[0].text, "dir c:\\  x");
}

TEST(ContainerfileTest, WordsOfTheJsonForm) {
  const Containerfile file = Containerfile::Parse("FROM a\nCMD [\"sh\", \"-c\"]\nCMD [not json\n");
  EXPECT_THAT(file.stages[0].steps[0].words.value(), ElementsAre("sh", "-c"));
  EXPECT_FALSE(file.stages[0].steps[1].words);
}

TEST(ContainerfileTest, AHereDocumentAloneIsTheScript) {
  const Containerfile file =
      Containerfile::Parse("FROM a\nRUN <<-'END'\n\tone \\\n# no comment\n\n\t\ttwo\n\tEND\nUSER x\n");
  EXPECT_EQ(file.stages[0].steps.at(0).text, "one \\\n# no comment\n\ntwo\n");
  EXPECT_EQ(file.stages[0].steps.at(1).line, 8U);
}

TEST(ContainerfileTest, HereDocumentsBehindACommandAreTheShells) {
  const Containerfile file = Containerfile::Parse(
      "FROM a\nRUN cat <<A >x && \\\n  cat <<\"B\" >y\none\nA\n$two\nB\nRUN echo '<<A' $((1<<2)) <<<A\nRUN true\n");
  EXPECT_EQ(file.stages[0].steps.at(0).text, "cat <<A >x &&   cat <<\"B\" >y\none\nA\n$two\nB");
  EXPECT_EQ(file.stages[0].steps.at(1).text, "echo '<<A' $((1<<2)) <<<A");
  EXPECT_EQ(file.stages[0].steps.size(), 3U);
}

TEST(ContainerfileTest, AHereDocumentMustEnd) {
  const Error error = ParseError("FROM a\nRUN <<A\nRUN x\n A\n");
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(error.message(), HasSubstr("line 2: the here-document 'A' has no end"));
  // Nor does one that a line begins whose continuation never comes.
  EXPECT_EQ(ParseError("FROM a\nRUN cat <<A \\").kind(), ErrorKind::kCorrupt);
}

TEST(ContainerfileTest, WhatIsNotSupportedIsSaidWithItsLine) {
  for (const char* text :
       {"FROM a\nONBUILD RUN x\n", "FROM a\nRUN --mount=type=cache x\n", "FROM a\nCOPY <<EOF /x\nEOF\n",
        "FROM a\nRUN <<EOF\n#!/bin/sh\nEOF\n", "FROM a\nCOPY --link a b\n", "FROM a\nMAINTAINER me\n"}) {
    const Error error = ParseError(text);
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << text;
    EXPECT_THAT(error.message(), HasSubstr("line 2: ")) << text;
  }
}

TEST(ContainerfileTest, RefusesWhatIsNone) {
  for (const char* text : {"", "RUN x\n", "FROM\n", "FROM a b c\n", "FROM a AS\n", "FROM a\nRUN\n"})
    EXPECT_EQ(ParseError(text).kind(), ErrorKind::kCorrupt) << text;
  EXPECT_EQ(ParseError(std::string("FROM a\nRUN \0x\n", 14)).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ParseError("FROM a\nRUN " + std::string(kMaxContainerfileBytes, 'x')).kind(), ErrorKind::kCorrupt);
}

TEST(ScriptTest, CommandsAreLinesOfWords) {
  const auto commands = ParseScript("# a script\nBegin\n\nset-exec -- sh \\\n  -c 'a b'\n");
  ASSERT_EQ(commands.size(), 2U);
  EXPECT_THAT(commands[0].words, ElementsAre("begin"));
  EXPECT_EQ(commands[1].line, 4U);
  EXPECT_THAT(commands[1].words, ElementsAre("set-exec", "--", "sh", "-c", "a b"));
}

TEST(ScriptTest, TellsTheLineOfAQuoteThatIsNotClosed) {
  EXPECT_THAT(CaughtError([] { ParseScript("begin\nrun 'x\n"); }).message(), HasSubstr("line 2: "));
}

}  // namespace
}  // namespace gantry::image
