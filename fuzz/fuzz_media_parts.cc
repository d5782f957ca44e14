// The media of a message, as a client sends it: refused with a message, or parts that are read back as they were
// written; no file is named where none may be. And base64: what is decoded comes back when it is encoded again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/base64.h"
#include "engine/shown_medium.h"
#include "text/chat_json.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckBase64(std::string_view text) {
  const auto bytes = carat::DecodeBase64(text);
  if (bytes) {
    Require(carat::DecodeBase64(carat::EncodeBase64(*bytes)).value() == *bytes);
  } else {
    Require(bytes.error().code == carat::ErrorCode::kUsage && !bytes.error().message.empty());
  }
  Require(carat::DecodeBase64(carat::EncodeBase64(text)).value() == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckBase64(text);
  const auto message = carat::text::ParseChatJson(text, "message");
  if (!message) return 0;
  for (const bool may_read_files : {false, true}) {
    const auto media = carat::MediaOfMessage(*message, may_read_files, "message");
    if (!media) {
      Require(media.error().code == carat::ErrorCode::kUsage && !media.error().message.empty());
      continue;
    }
    for (const auto& medium : *media) {
      Require(may_read_files || medium->source().path.empty());
      const carat::Json again = {{"content", carat::Json::array({carat::PartOfMedium(medium->source())})}};
      const auto read = carat::MediaOfMessage(again, /*may_read_files=*/true, "message");
      Require(read && read->size() == 1 && read->front()->source().bytes == medium->source().bytes &&
              read->front()->kind() == medium->kind());
    }
  }
  return 0;
}
