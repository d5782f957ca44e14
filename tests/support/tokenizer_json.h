// Writes files of the form of Gemma's tokenizer.json, with a vocabulary as small as a test wants it.
#pragma once

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace carat::testing_support {

// The vocabulary: `control` (added tokens, special), the tokens of the 256 bytes, `pieces`; ids in this order.
inline Json TokenizerJson(const std::vector<std::string>& control, const std::vector<std::string>& pieces,
                          const std::vector<std::pair<std::string, std::string>>& merges) {
  Json file = Json::parse(R"({
      "version": "1.0", "truncation": null, "padding": null,
      "added_tokens": [],
      "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
      "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
      "post_processor": {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
      "decoder": {"type": "Sequence", "decoders": [
          {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
          {"type": "Fuse"}]},
      "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": {}, "merges": []}})");
  Json& vocabulary = file["model"]["vocab"];
  for (const std::string& piece : control) {
    file["added_tokens"].push_back({{"id", vocabulary.size()},
                                    {"content", piece},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
    vocabulary[piece] = vocabulary.size();
  }
  for (int byte = 0; byte < 256; ++byte) {
    char piece[8];
    std::snprintf(piece, sizeof(piece), "<0x%02X>", byte);
    vocabulary[piece] = vocabulary.size();
  }
  for (const std::string& piece : pieces) vocabulary[piece] = vocabulary.size();
  for (const auto& [left, right] : merges) file["model"]["merges"].push_back({left, right});
  return file;
}

// The control tokens that Gemma 4's chat format needs, and the usual ones. <unk> is 3, <bos> 2.
inline const std::vector<std::string> kGemma4ControlTokens = {"<pad>",
                                                              "<eos>",
                                                              "<bos>",
                                                              "<unk>",
                                                              "<|turn>",
                                                              "<turn|>",
                                                              "<|think|>",
                                                              "<|channel>",
                                                              "<channel|>",
                                                              "<|tool>",
                                                              "<tool|>",
                                                              "<|tool_call>",
                                                              "<tool_call|>",
                                                              "<|tool_response>",
                                                              "<tool_response|>",
                                                              "<|\"|>",
                                                              "<|image|>",
                                                              "<|audio|>",
                                                              "<|video|>"};

}  // namespace carat::testing_support
