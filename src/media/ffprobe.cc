#include "media/ffprobe.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/json.h"
#include "base/try.h"

namespace carat::media {
namespace {

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// "30000/1001"; none if it is no positive number.
std::optional<Fraction> ParseFraction(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto numerator = ParseInteger(text.substr(0, slash)), denominator = ParseInteger(text.substr(slash + 1));
  if (!numerator || !denominator || *numerator <= 0 || *denominator <= 0) return std::nullopt;
  return Fraction{.numerator = *numerator, .denominator = *denominator};
}

// Whether the stream is shown on its side: by an angle that ffmpeg turns it by, in degrees.
Result<bool> IsOnItsSide(const JsonObject& stream) {
  if (!stream.Has("side_data_list") || !stream.json->at("side_data_list").is_array()) return false;
  for (const Json& entry : stream.json->at("side_data_list")) {
    if (!entry.is_object()) continue;
    const JsonObject side_data{.json = &entry, .where = stream.where, .code = stream.code};
    if (!side_data.Has("rotation")) continue;
    TRY_ASSIGN(const double angle, side_data.Float("rotation"));
    return std::abs(std::remainder(angle - 90, 180)) < 1;
  }
  return false;
}

Result<VideoStream> ReadVideoStream(const JsonObject& stream) {
  constexpr int64_t kLongestSide = 1 << 20;
  VideoStream video;
  TRY_ASSIGN(video.width, stream.Integer("width", 1, kLongestSide));
  TRY_ASSIGN(video.height, stream.Integer("height", 1, kLongestSide));
  TRY_ASSIGN(const bool on_its_side, IsOnItsSide(stream));
  if (on_its_side) std::swap(video.width, video.height);
  TRY_ASSIGN(const std::string time_unit, stream.StringOr("time_base", ""));
  video.time_unit = ParseFraction(time_unit).value_or(Fraction{});
  for (const char* key : {"avg_frame_rate", "r_frame_rate"}) {
    TRY_ASSIGN(const std::string rate, stream.StringOr(key, ""));
    if (video.average_rate.numerator == 0) video.average_rate = ParseFraction(rate).value_or(Fraction{});
  }
  return video;
}

}  // namespace

Result<VideoStream> ParseStreams(std::string_view json, const std::string& name) {
  const std::string where = name + ": what ffprobe says of it";
  TRY_ASSIGN(const Json root, ParseJson(json, where, ErrorCode::kBadMedia));
  if (!root.is_object() || !root.contains("streams") || !root["streams"].is_array())
    return Fail(ErrorCode::kBadMedia, where + ": no list of streams");
  std::optional<VideoStream> video;
  bool has_audio = false;
  for (const Json& entry : root["streams"]) {
    if (!entry.is_object()) return Fail(ErrorCode::kBadMedia, where + ": a stream that is no object");
    const JsonObject stream{.json = &entry, .where = where, .code = ErrorCode::kBadMedia};
    TRY_ASSIGN(const std::string kind, stream.StringOr("codec_type", ""));
    has_audio |= kind == "audio";
    if (kind != "video" || video) continue;
    int64_t is_cover = 0;
    if (stream.Has("disposition") && stream.json->at("disposition").is_object()) {
      TRY_ASSIGN(const JsonObject disposition, stream.Object("disposition"));
      TRY_ASSIGN(is_cover, disposition.IntegerOr("attached_pic", 0, 0, 1));
    }
    if (is_cover != 0) continue;
    TRY_ASSIGN(video, ReadVideoStream(stream));
  }
  if (!video) return Fail(ErrorCode::kBadMedia, name + ": no video in it" + (has_audio ? ", only sound" : ""));
  video->has_audio = has_audio;
  return *video;
}

void PacketCounter::Add(std::string_view piece) {
  constexpr size_t kLongestLine = 256;  // three numbers; what is longer is cut, and then no number
  while (!piece.empty()) {
    const size_t end = std::min(piece.find('\n'), piece.size());
    line_.append(piece.substr(0, std::min(end, kLongestLine - line_.size())));
    if (end == piece.size()) return;
    Finish();
    piece.remove_prefix(end + 1);
  }
}

void PacketCounter::Finish() {
  AddLine(line_);
  line_.clear();
}

void PacketCounter::AddLine(std::string_view line) {
  if (line.empty()) return;  // between packets that have more to say
  const auto next_field = [&line] {
    const std::string_view field = line.substr(0, line.find(','));
    line.remove_prefix(std::min(line.size(), field.size() + 1));
    return field;
  };
  const std::optional<int64_t> time = ParseInteger(next_field());
  const std::optional<int64_t> duration = ParseInteger(next_field());
  const std::string_view flags = next_field();       // perhaps with more behind them
  if (flags.empty() || flags.contains('D')) return;  // D: discarded; before the beginning of an edit, say
  if (time && time == last_time_) return;
  last_time_ = time;
  ++frames_;
  int64_t end = 0;
  if (!time || !duration || *duration < 0 || __builtin_add_overflow(*time, *duration, &end)) {
    timed_ = false;
    return;
  }
  begin_ = std::min(begin_, *time);
  end_ = std::max(end_, end);
}

std::optional<double> PacketCounter::Seconds(const Fraction& time_unit) const {
  if (!timed_ || frames_ == 0 || time_unit.numerator == 0) return std::nullopt;
  const auto seconds = [&](int64_t time) {
    return static_cast<double>(time) * static_cast<double>(time_unit.numerator) /
           static_cast<double>(time_unit.denominator);
  };
  const double length = seconds(end_) - seconds(begin_);
  return length > 0 ? std::optional(length) : std::nullopt;
}

}  // namespace carat::media
