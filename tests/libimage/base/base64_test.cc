#include "libimage/base/base64.h"

#include <gtest/gtest.h>

namespace gantry {
namespace {

TEST(Base64, VectorsOfTheRfcBothWays) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xff\xfe\xfd", "//79"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(EncodeBase64(bytes), text);
    EXPECT_EQ(DecodeBase64(text), bytes);
  }
}

TEST(Base64, DecodesOnlyTheOneSpelling) {
  for (const char* bad : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9", "Zm9v\n", "Zm 9v", "Z===", "====", "Zg==Zg==", "Zm-_"}) {
    EXPECT_EQ(DecodeBase64(bad), std::nullopt) << bad;
  }
}

TEST(Base64, EitherAlphabetPaddedOrNot) {
  for (const char* text : {"//79", "__79", "/_79"}) {
    EXPECT_EQ(DecodeEitherBase64(text), "\xff\xfe\xfd") << text;
  }
  for (const char* text : {"Zg==", "Zg"}) {
    EXPECT_EQ(DecodeEitherBase64(text), "f") << text;
  }
  EXPECT_EQ(DecodeEitherBase64(""), "");
  for (const char* bad : {"Zg=", "Zh", "Z", "Zg===", "Zg ", "Z==="}) {
    EXPECT_EQ(DecodeEitherBase64(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace gantry
