#include "engine/text_model.h"

#include "base/try.h"
#include "engine/load_tokenizer.h"
#include "formats/checkpoint.h"
#include "text/chat_ids.h"

namespace carat {

Result<TextModel> LoadTextModel(const std::filesystem::path& path) {
  TRY_ASSIGN(const formats::Checkpoint checkpoint, formats::Checkpoint::OpenForText(path));
  TRY_ASSIGN(std::optional<text::Tokenizer> tokenizer, LoadTokenizer(checkpoint));
  if (!tokenizer) {
    return Fail(ErrorCode::kUsage, path.string() +
                                       ": the checkpoint has no tokenizer; a folder with a tokenizer.json or a GGUF "
                                       "file with a vocabulary would work");
  }
  const std::optional<text::ChatFormat> chat_format = text::ChatFormatOf(*tokenizer);
  return TextModel{.path = path, .tokenizer = std::move(*tokenizer), .chat_format = chat_format};
}

}  // namespace carat
