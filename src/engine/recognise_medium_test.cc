#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "carat/media.h"

namespace carat {
namespace {

using namespace std::string_literals;
using Kind = Medium::Kind;

TEST(RecogniseMediumTest, ByTheFirstBytes) {
  const auto riff = [](const std::string& what) { return "RIFF\x10\0\0\0"s + what; };
  const auto brand = [](const std::string& what) { return "\0\0\0\x18"s + "ftyp" + what; };
  for (const std::string& head : {"\xff\xd8\xff\xe0..."s, "\x89PNG\r\n\x1a\n..."s, "GIF89a..."s, riff("WEBPVP8 "),
                                  "BM\x36\x10\0\0\0\0\0\0"s, "II*\0...."s, brand("heic"), brand("avif")})
    EXPECT_EQ(RecogniseMedium(head), Kind::kImage) << head;
  for (const std::string& head :
       {brand("isom"), brand("mp42"), brand("qt  "), "\x1a\x45\xdf\xa3...."s, riff("AVI LIST")})
    EXPECT_EQ(RecogniseMedium(head), Kind::kVideo) << head;
  std::string stream(3 * 188, 'x');
  stream[0] = stream[188] = stream[376] = 'G';
  EXPECT_EQ(RecogniseMedium(stream), Kind::kVideo);
  for (const std::string& head :
       {""s, "B"s, "BMW makes cars"s, "# A text"s, riff("WAVEfmt "), "OggS"s, brand("M4A "), "\xff\xd8"s})
    EXPECT_FALSE(RecogniseMedium(head)) << head;
}

TEST(RecogniseMediumTest, FilesThatAreNone) {
  const std::filesystem::path folder = testing::TempDir();
  const auto message = [](const std::filesystem::path& path) {
    const auto medium = OpenMedium(path);
    EXPECT_FALSE(medium);
    EXPECT_EQ(medium.error().code, ErrorCode::kBadMedia);
    return medium.error().message;
  };
  EXPECT_EQ(message(folder / "missing.png"), (folder / "missing.png").string() + ": no such file");
  EXPECT_NE(message(folder).find("not a file"), std::string::npos);
  const std::filesystem::path sound = folder / "carat_recognise.wav";
  std::ofstream(sound, std::ios::binary) << "RIFF\x10\0\0\0WAVEfmt "s;
  EXPECT_NE(message(sound).find("is audio"), std::string::npos);
  std::filesystem::remove(sound);
}

}  // namespace
}  // namespace carat
