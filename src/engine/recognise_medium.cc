// What a file is, by its first bytes.
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "base/try.h"
#include "carat/media.h"

namespace carat {

namespace {

using namespace std::string_view_literals;
using Kind = Medium::Kind;

constexpr size_t kHeadBytes = 400;  // enough for three packets of an MPEG transport stream

struct Magic {
  size_t offset;
  std::string_view bytes;
};

constexpr std::array kImages = {Magic{0, "\xff\xd8\xff"sv}, Magic{0, "\x89PNG\r\n\x1a\n"sv},
                                Magic{0, "GIF8"sv},         Magic{8, "WEBP"sv},
                                Magic{0, "II*\0"sv},        Magic{0, "MM\0*"sv},
                                Magic{4, "ftypheic"sv},     Magic{4, "ftypheix"sv},
                                Magic{4, "ftypmif1"sv},     Magic{4, "ftypavif"sv},
                                Magic{0, "\xff\x0a"sv},     Magic{4, "JXL \r\n\x87\n"sv}};
constexpr std::array kVideos = {
    Magic{4, "ftyp"sv}, Magic{4, "moov"sv},    Magic{4, "mdat"sv},         Magic{0, "\x1a\x45\xdf\xa3"sv},
    Magic{8, "AVI "sv}, Magic{0, "FLV\x01"sv}, Magic{0, "\0\0\x01\xba"sv}, Magic{0, "\0\0\x01\xb3"sv}};
constexpr std::array kAudio = {Magic{8, "WAVE"sv},    Magic{0, "fLaC"sv},     Magic{0, "OggS"sv},    Magic{0, "ID3"sv},
                               Magic{4, "ftypM4A"sv}, Magic{0, "\xff\xfb"sv}, Magic{0, "\xff\xf1"sv}};

bool IsOneOf(std::string_view head, std::span<const Magic> magics) {
  for (const Magic& magic : magics)
    if (head.size() > magic.offset && head.substr(magic.offset).starts_with(magic.bytes)) return true;
  return false;
}

// "BM" alone begins words.
bool IsBitmap(std::string_view head) {
  return head.size() >= 10 && head.starts_with("BM") && head.substr(6, 4) == "\0\0\0\0"sv;
}

bool IsTransportStream(std::string_view head) {
  constexpr size_t kPacket = 188;
  return head.size() > 2 * kPacket && head[0] == 'G' && head[kPacket] == 'G' && head[2 * kPacket] == 'G';
}

Result<std::string> ReadHead(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return Fail(ErrorCode::kBadMedia, path.string() + ": no such file");
  if (!std::filesystem::is_regular_file(path, error))
    return Fail(ErrorCode::kBadMedia, path.string() + ": not a file; pictures and videos are read from files");
  std::ifstream file(path, std::ios::binary);
  std::string head(kHeadBytes, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (!file.is_open() || file.bad())
    return Fail(ErrorCode::kBadMedia, path.string() + ": cannot be read: " + std::strerror(errno));
  head.resize(static_cast<size_t>(file.gcount()));
  return head;
}

}  // namespace

std::optional<Kind> RecogniseMedium(std::string_view head) {
  if (IsOneOf(head, kImages) || IsBitmap(head)) return Kind::kImage;
  if (IsOneOf(head, kAudio)) return std::nullopt;
  if (IsOneOf(head, kVideos) || IsTransportStream(head)) return Kind::kVideo;
  return std::nullopt;
}

std::optional<Medium> RecogniseFile(const std::filesystem::path& path) {
  const auto head = ReadHead(path);
  const auto kind = head ? RecogniseMedium(*head) : std::nullopt;
  if (!kind) return std::nullopt;
  return Medium{.kind = *kind, .path = path};
}

Result<Medium> OpenMedium(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string head, ReadHead(path));
  if (IsOneOf(head, kAudio))
    return Fail(ErrorCode::kBadMedia, path.string() + ": is audio; this version takes pictures and videos");
  // What is not known here, `ffmpeg` may know as a picture.
  return Medium{.kind = RecogniseMedium(head).value_or(Kind::kImage), .path = path};
}

}  // namespace carat
