#include "base/base64.h"

#include <gtest/gtest.h>

#include <string>

namespace carat {
namespace {

// RFC 4648, section 10.
TEST(Base64Test, TestVectorsOfTheStandard) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(EncodeBase64(bytes), text);
    EXPECT_EQ(DecodeBase64(text).value(), bytes);
  }
}

TEST(Base64Test, AllBytesAndAllLengthsComeBack) {
  std::string bytes;
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)).value(), bytes);
    bytes += static_cast<char>(i * 7);
  }
}

TEST(Base64Test, TakesLineBreaksAndMissingPadding) {
  EXPECT_EQ(DecodeBase64("Zm9v\r\nYg==\n").value(), "foob");
  EXPECT_EQ(DecodeBase64("Zm9vYg").value(), "foob");
}

TEST(Base64Test, RefusesWhatIsNone) {
  for (const char* text : {"Zm9v!", "Z", "Zm9vY", "Zg=", "Zg==Zg==", "Zm-_", "Zm9v\xff"}) {
    const auto bytes = DecodeBase64(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().code, ErrorCode::kUsage);
    EXPECT_NE(bytes.error().message.find("base64"), std::string::npos);
  }
}

}  // namespace
}  // namespace carat
