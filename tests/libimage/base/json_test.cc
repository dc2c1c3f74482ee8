#include "libimage/base/json.h"

#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::json {
namespace {

using gantry::testing::CaughtError;

std::string Problem(std::string_view text) {
  return CaughtError([&] { Parse(text, "doc"); }).message();
}

TEST(JsonTest, PrintsWhatItParsed) {
  const std::string text = R"({"b":1,"a":[true,null,-7,"x\n\"é"],"c":{"n":18446744073709551615}})";
  EXPECT_EQ(Print(Parse(text, "doc")), text);
}

TEST(JsonTest, RejectsDuplicateKeys) { EXPECT_EQ(Problem(R"({"a":1,"a":2})"), "doc: a second member 'a'"); }

TEST(JsonTest, RejectsDuplicateKeysAmongMany) {
  std::string text = "{";
  for (int i = 0; i < 40; ++i) text += "\"k" + std::to_string(i) + "\":{\"x\":1},";
  EXPECT_NO_THROW(Parse(text + "\"end\":1}", "doc"));
  for (const char* name : {"k0", "k15", "k16", "k39"})
    EXPECT_EQ(Problem(text + "\"" + name + "\":1}"), "doc: a second member '" + std::string(name) + "'");
}

TEST(JsonTest, RejectsDuplicateKeysThatAreEscapedDifferently) {
  EXPECT_EQ(Problem(R"({"a":1,"\u0061":2})"), "doc: a second member 'a'");
}

TEST(JsonTest, RejectsTrailingBytes) { EXPECT_EQ(Problem("{} x"), "doc: not JSON at byte 4"); }

TEST(JsonTest, RejectsNumbersBeyond64Bits) {
  EXPECT_EQ(Problem(R"([18446744073709551616])"), "doc: a number beyond 64 bits");
}

TEST(JsonTest, RejectsDepthOverTheBound) {
  const std::string deep = std::string(kMaxDepth + 1, '[') + std::string(kMaxDepth + 1, ']');
  EXPECT_EQ(Problem(deep), "doc: more than 64 levels");
  EXPECT_NO_THROW(Parse(deep.substr(1, kMaxDepth * 2), "doc"));
}

TEST(JsonTest, RejectsMoreValuesThanTheBound) {
  std::string many = "[";
  for (size_t i = 1; i < kMaxValues; ++i) {
    many += "1,";
  }
  EXPECT_NO_THROW(Parse(many.substr(0, many.size() - 1) + "]", "doc"));
  EXPECT_EQ(Problem(many + "1]"), "doc: more than 1000000 values");
}

TEST(JsonTest, RejectsInvalidUtf8AndUnpairedSurrogates) {
  EXPECT_NE(Problem("[\"\xff\"]").find("not JSON"), std::string::npos);
  EXPECT_NE(Problem(R"(["\ud800"])").find("not JSON"), std::string::npos);
}

TEST(JsonTest, RejectsEmptyInput) { EXPECT_NE(Problem("").find("not JSON"), std::string::npos); }

TEST(JsonTest, CanonicalFormSortsByUtf16CodeUnits) {
  // The order of RFC 8785, section 3.2.3: U+1F600 (a surrogate pair) comes before U+FB33.
  const Value value(Object{{"\xef\xac\xb3", 1}, {"\xf0\x9f\x98\x80", 2}, {"\xe2\x82\xac", 3}, {"\r", 4}, {"1", 5}});
  EXPECT_EQ(PrintCanonical(value), "{\"\\r\":4,\"1\":5,\"\xe2\x82\xac\":3,\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}");
}

TEST(JsonTest, CanonicalFormRefusesDoubles) { EXPECT_THROW(PrintCanonical(Parse("[1.5]", "doc")), Error); }

TEST(JsonTest, PrettyFormIndentsAndKeepsEmptyContainersShort) {
  EXPECT_EQ(PrintPretty(Parse(R"({"a":[1,{}],"b":[]})", "doc")),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}\n");
}

TEST(JsonTest, RefusesToPrintTextThatIsNotUtf8) { EXPECT_THROW(Print(Value("\xff")), Error); }

TEST(JsonCursorTest, ErrorsNameTheDocumentAndThePointer) {
  const Value value = Parse(R"({"layers":[{"size":1},{"size":-1}]})", "manifest");
  const Cursor cursor(value, "manifest");
  const Error error = CaughtError([&] { cursor.At("layers").Elements(5).at(1).At("size").Unsigned(100); });
  EXPECT_EQ(error.message(), "manifest: '/layers/1/size': expected an integer from 0 to 100");
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
}

TEST(JsonCursorTest, RejectsFloatsBooleansAndStringsAsIntegers) {
  for (const char* text : {"1.0", "1e3", "true", "\"1\"", "null"}) {
    const Value value = Parse(text, "doc");
    EXPECT_THROW(Cursor(value, "doc").Unsigned(1000), Error) << text;
  }
}

TEST(JsonCursorTest, FindTreatsNullAsAbsent) {
  const Value value = Parse(R"({"a":null,"b":1})", "doc");
  EXPECT_FALSE(Cursor(value, "doc").Find("a").has_value());
  EXPECT_FALSE(Cursor(value, "doc").Find("c").has_value());
  EXPECT_TRUE(Cursor(value, "doc").Find("b").has_value());
}

TEST(JsonCursorTest, OnlyKeysRefusesTheUnknown) {
  const Value value = Parse(R"({"a":1,"A":1})", "doc");
  EXPECT_THROW(Cursor(value, "doc").OnlyKeys({"a"}), Error);
  EXPECT_NO_THROW(Cursor(value, "doc").OnlyKeys({"a", "A"}));
}

TEST(JsonCursorTest, BoundsCounts) {
  const Value value = Parse("[1,2,3]", "doc");
  EXPECT_THROW(Cursor(value, "doc").Elements(2), Error);
  EXPECT_EQ(Cursor(value, "doc").Elements(3).size(), 3u);
}

}  // namespace
}  // namespace gantry::json
