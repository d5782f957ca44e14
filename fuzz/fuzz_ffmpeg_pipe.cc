// What ffprobe and ffmpeg write, cut into pieces of any size: read or refused, and the pieces make no difference.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "fuzz/decoded_image.h"
#include "media/ffmpeg.h"
#include "media/ffprobe.h"

namespace carat {
namespace {

using media::Image;

void ReadStreams(std::string_view text) {
  const auto stream = media::ParseStreams(text, "fuzz");
  if (!stream && !stream.error().message.starts_with("fuzz: ")) std::abort();
  if (stream && (stream->width < 1 || stream->height < 1 || stream->average_rate.value() < 0)) std::abort();
}

media::PacketCounter CountPackets(std::string_view text, size_t piece) {
  media::PacketCounter counter;
  for (size_t at = 0; at < text.size(); at += piece) counter.Add(text.substr(at, piece));
  counter.Finish();
  return counter;
}

void ReadPackets(std::string_view text, size_t piece) {
  const media::PacketCounter whole = CountPackets(text, text.size() + 1), cut = CountPackets(text, piece);
  if (whole.frames() != cut.frames()) std::abort();
  const media::Fraction unit{.numerator = 1, .denominator = 90000};
  if (whole.Seconds(unit) != cut.Seconds(unit) || whole.Seconds(unit).value_or(1) <= 0) std::abort();
}

void ReadFrames(std::string_view text) {
  const media::ReadBytes read = [&](std::span<std::byte> out) -> Result<size_t> {
    const size_t count = std::min(out.size(), text.size());
    std::copy_n(reinterpret_cast<const std::byte*>(text.data()), count, out.data());
    text.remove_prefix(count);
    return count;
  };
  for (;;) {
    Result<std::optional<Image>> frame = media::ReadPpm(read, kFuzzImageLimits);
    if (frame && !*frame) return;
    CheckDecoded(frame ? Result<Image>(std::move(**frame)) : std::unexpected(frame.error()));
    if (!frame) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  ReadStreams(text);
  ReadPackets(text, data[0] % 16 + 1);
  ReadFrames(text);
  return 0;
}

}  // namespace carat
