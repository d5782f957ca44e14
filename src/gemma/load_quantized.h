// Hugging Face folders of quantised weights: what their config.json promises, and how their tensors become matrices.
#pragma once

#include <string>

#include "base/json.h"
#include "carat/result.h"
#include "formats/checkpoint.h"
#include "gemma/load.h"
#include "ops/matrix.h"

namespace carat::gemma {

// From `quantization_config` of config.json (`top`); kNone if there is none. Error: kBadModel, for every scheme that is
// not run here, naming what was found.
Result<Quantization> ReadQuantization(const JsonObject& top, const formats::Checkpoint& checkpoint);

// The matrices of module `module` ("...mlp.gate_proj"), in the code formats of quant/codes.h, or as float weights where
// the module was left alone. Errors (kBadModel) name the tensor.
//
// quant_method gemma: <module>.weight, .weight_scale, .input_activation_scale, .output_activation_scale. The bits
// follow from the stored type and width, not from the patterns of config.json.
Result<ops::Matrix> BindGemmaLinear(const formats::Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                    int64_t cols);
// compressed-tensors W4A16: <module>.weight_packed, .weight_scale, .weight_shape.
Result<ops::Matrix> BindGroupLinear(const formats::Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                    int64_t cols);
// quant_method gemma: <module>.embedding_quantized, .embedding_scale [rows, any number of equal groups]. The scales are
// not looked at, as reading those of the PLE table would read a good part of it.
Result<ops::Matrix> BindGemmaEmbedding(const formats::Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                       int64_t cols);

// Scales are finite and above zero, or also zero (a row of nothing).
Status CheckScales(const formats::Checkpoint& checkpoint, const std::string& name, const ops::Matrix& matrix,
                   bool zero);
// A tensor of one F32 number, which is a scale. 0 means "not calibrated".
Result<float> ReadScale(const formats::Checkpoint& checkpoint, const std::string& name);

}  // namespace carat::gemma
