#include "formats/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/try.h"

namespace carat::formats {

namespace {

constexpr uint64_t kMaxKeys = 1'000'000, kMaxTensors = 100'000;
constexpr uint64_t kMinEntryBytes = 14, kMinTensorBytes = 33;  // the least that a metadata entry or tensor info takes
constexpr uint64_t kMaxKeyBytes = 65535, kMaxNameBytes = 63, kMaxStringBytes = 64 << 20;
constexpr uint64_t kMaxDimension = uint64_t{1} << 40;
constexpr uint64_t kMinAlignment = 8, kMaxAlignment = 65536, kDefaultAlignment = 32;

// A key or the name of a tensor that somebody could have meant: there, and without control characters.
bool IsName(std::string_view text) {
  return !text.empty() &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

uint64_t TypeBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

}  // namespace

// Walks over the bytes; nothing is believed that does not fit into what is left of them.
struct GgufParser {
  std::span<const std::byte> bytes;
  std::string file;
  uint64_t position = 0;
  uint64_t key_count = 0, tensor_count = 0;
  GgufFile out;

  Status ParseMetadata();
  Status ParseTensors();
  Status ParseHeader();
  Status ParseEntry(uint64_t index);
  Status ParseArray(std::string_view key, GgufValue& value);
  Status ParseTensor(uint64_t index);
  Status PlaceTensors();

  std::unexpected<Error> FailHere(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, file + ": " + what);
  }
  uint64_t left() const { return bytes.size() - position; }
  Status Need(uint64_t count, const char* what) const {
    if (count <= left()) return {};
    return FailHere("the file ends inside of " + std::string(what) + " (byte " + std::to_string(position) + " of " +
                    std::to_string(bytes.size()) + "); it was probably not downloaded completely");
  }
  template <typename T>
  Result<T> Read(const char* what) {
    TRY(Need(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data() + position, sizeof(T));
    position += sizeof(T);
    return value;
  }
  Result<std::string_view> ReadString(uint64_t max, const char* what) {
    TRY_ASSIGN(const uint64_t length, Read<uint64_t>(what));
    if (length > max)
      return FailHere(std::string(what) + " of " + std::to_string(length) + " bytes at byte " +
                      std::to_string(position) + "; at most " + std::to_string(max) + " are allowed");
    TRY(Need(length, what));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data() + position), length);
    position += length;
    return text;
  }
};

Status GgufParser::ParseMetadata() {
  TRY(ParseHeader());
  for (uint64_t i = 0; i < key_count; ++i) TRY(ParseEntry(i));
  return {};
}

Status GgufParser::ParseTensors() {
  if (tensor_count > std::min<uint64_t>(bytes.size() / kMinTensorBytes, kMaxTensors))
    return FailHere("the header claims " + std::to_string(tensor_count) + " tensors, more than the file can hold");
  for (uint64_t i = 0; i < tensor_count; ++i) TRY(ParseTensor(i));
  return PlaceTensors();
}

Status GgufParser::ParseHeader() {
  if (bytes.size() < 24) return FailHere("too short to be a GGUF file (" + std::to_string(bytes.size()) + " bytes)");
  if (std::memcmp(bytes.data(), "GGUF", 4) != 0) return FailHere("not a GGUF file (it does not begin with 'GGUF')");
  position = 4;
  TRY_ASSIGN(const uint32_t version, Read<uint32_t>("the header"));
  if (version != 0 && (version & 0xffff) == 0)
    return FailHere("a big-endian GGUF file, which is not supported on this host");
  if (version != 2 && version != 3)
    return FailHere("GGUF version " + std::to_string(version) + "; versions 2 and 3 are supported");
  out.metadata.version = version;
  out.metadata.file_name = file;
  TRY_ASSIGN(tensor_count, Read<uint64_t>("the header"));
  TRY_ASSIGN(key_count, Read<uint64_t>("the header"));
  if (key_count > std::min<uint64_t>(bytes.size() / kMinEntryBytes, kMaxKeys))
    return FailHere("the header claims " + std::to_string(key_count) +
                    " metadata entries, more than the file can hold");
  out.metadata.values_.reserve(key_count);
  return {};
}

Status GgufParser::ParseEntry(uint64_t index) {
  const std::string where = "metadata entry " + std::to_string(index);
  TRY_ASSIGN(const std::string_view key, ReadString(kMaxKeyBytes, where.c_str()));
  if (!IsName(key)) return FailHere(where + " has an empty or broken key");
  TRY_ASSIGN(const uint32_t type, Read<uint32_t>(where.c_str()));
  GgufValue value = {.type = static_cast<GgufType>(type), .bytes = {}};
  if (value.type == GgufType::kString) {
    TRY_ASSIGN(const std::string_view text, ReadString(kMaxStringBytes, where.c_str()));
    value.bytes = std::as_bytes(std::span(text));
  } else if (value.type == GgufType::kArray) {
    TRY(ParseArray(key, value));
  } else if (const uint64_t size = TypeBytes(value.type); size > 0) {
    TRY(Need(size, where.c_str()));
    value.bytes = bytes.subspan(position, size);
    position += size;
  } else {
    return FailHere("the key '" + std::string(key) + "' has the unknown value type " + std::to_string(type));
  }
  if (!out.metadata.values_.emplace(key, std::move(value)).second)
    return FailHere("the key '" + std::string(key) + "' occurs twice");
  out.metadata.keys_.push_back(key);
  return {};
}

Status GgufParser::ParseArray(std::string_view key, GgufValue& value) {
  const std::string where = "the array '" + std::string(key) + "'";
  TRY_ASSIGN(const uint32_t type, Read<uint32_t>(where.c_str()));
  TRY_ASSIGN(value.count, Read<uint64_t>(where.c_str()));
  value.element_type = static_cast<GgufType>(type);
  if (value.element_type == GgufType::kArray) return FailHere(where + " holds arrays, which no model needs");
  const bool strings = value.element_type == GgufType::kString;
  const uint64_t size = strings ? sizeof(uint64_t) : TypeBytes(value.element_type);
  if (size == 0) return FailHere(where + " has the unknown element type " + std::to_string(type));
  if (value.count > left() / size)
    return FailHere(where + " claims " + std::to_string(value.count) + " elements, more than the file can hold");
  const uint64_t begin = position;
  if (strings) {
    for (uint64_t i = 0; i < value.count; ++i) TRY(ReadString(kMaxStringBytes, where.c_str()));
  } else {
    position += value.count * size;
  }
  value.bytes = bytes.subspan(begin, position - begin);
  return {};
}

namespace {

// What a type id of the file means, or why it cannot be read.
Result<quant::Type> ToType(uint32_t id) {
  using quant::Type;
  switch (id) {
    case 0:
      return Type::kF32;
    case 1:
      return Type::kF16;
    case 2:
      return Type::kQ4_0;
    case 3:
      return Type::kQ4_1;
    case 6:
      return Type::kQ5_0;
    case 7:
      return Type::kQ5_1;
    case 8:
      return Type::kQ8_0;
    case 10:
      return Type::kQ2_K;
    case 11:
      return Type::kQ3_K;
    case 12:
      return Type::kQ4_K;
    case 13:
      return Type::kQ5_K;
    case 14:
      return Type::kQ6_K;
    case 20:
      return Type::kIQ4_NL;
    case 23:
      return Type::kIQ4_XS;
    case 24:
      return Type::kI8;
    case 25:
      return Type::kI16;
    case 26:
      return Type::kI32;
    case 27:
      return Type::kI64;
    case 28:
      return Type::kF64;
    case 30:
      return Type::kBF16;
    default:
      break;
  }
  constexpr const char* kOffer = "; Q4_0, Q4_K_M, Q5_K_M, Q6_K, Q8_0, IQ4_XS and BF16 files would work";
  const auto fail = [&](const std::string& what) { return Fail(ErrorCode::kBadModel, what + kOffer); };
  switch (id) {
    case 9:
    case 15:
      return fail("has a type (Q8_1, Q8_K) that only exists in memory");
    case 16:
    case 17:
    case 18:
    case 19:
    case 21:
    case 22:
    case 29:
      return fail("has a grid type (IQ1, IQ2, IQ3), which is not supported");
    case 34:
    case 35:
    case 41:
    case 42:
      return fail("has a one- or two-bit type, which is not supported");
    case 39:
    case 40:
      return fail("has a type of four-bit floats (MXFP4, NVFP4), which is not supported");
    case 4:
    case 5:
    case 31:
    case 32:
    case 33:
    case 36:
    case 37:
    case 38:
      return fail("has the type " + std::to_string(id) + ", which was removed from GGUF; download the model again");
    default:
      break;
  }
  if (id >= 97 && id < 400) return fail("has the type " + std::to_string(id) + " of another engine (ik_llama.cpp)");
  return fail("has the unknown type " + std::to_string(id));
}

}  // namespace

Status GgufParser::ParseTensor(uint64_t index) {
  const std::string where = "the description of tensor " + std::to_string(index);
  GgufTensorInfo tensor;
  TRY_ASSIGN(tensor.name, ReadString(kMaxNameBytes, where.c_str()));
  if (!IsName(tensor.name)) return FailHere(where + " has no name, or a broken one");
  const auto fail = [&](const std::string& what) {
    return FailHere("tensor '" + std::string(tensor.name) + "' " + what);
  };
  TRY_ASSIGN(const uint32_t rank, Read<uint32_t>(where.c_str()));
  if (rank < 1 || rank > 4) return fail("has " + std::to_string(rank) + " dimensions; 1 to 4 are possible");
  tensor.shape.resize(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    TRY_ASSIGN(const uint64_t size, Read<uint64_t>(where.c_str()));
    if (size < 1 || size > kMaxDimension) return fail("has a dimension of " + std::to_string(size));
    tensor.shape[rank - 1 - i] = static_cast<int64_t>(size);
  }
  TRY_ASSIGN(const uint32_t type, Read<uint32_t>(where.c_str()));
  TRY_ASSIGN(tensor.offset, Read<uint64_t>(where.c_str()));
  const Result<quant::Type> known = ToType(type);
  if (!known) return fail(known.error().message);
  tensor.type = *known;

  const std::optional<uint64_t> row = quant::RowBytes(tensor.type, static_cast<uint64_t>(tensor.shape.back()));
  if (!row)
    return fail("has rows of " + std::to_string(tensor.shape.back()) + ", no multiple of the block of its type " +
                std::string(quant::Info(tensor.type).name));
  tensor.size_bytes = *row;
  for (uint32_t i = 0; i + 1 < rank; ++i)
    if (__builtin_mul_overflow(tensor.size_bytes, static_cast<uint64_t>(tensor.shape[i]), &tensor.size_bytes))
      return fail("has a size that overflows");
  out.tensors.push_back(std::move(tensor));
  return {};
}

// Turns offsets into positions in the file, and checks that tensors lie in it, aligned and apart.
Status GgufParser::PlaceTensors() {
  TRY_ASSIGN(const int64_t alignment,
             out.metadata.IntegerOr("general.alignment", kDefaultAlignment, kMinAlignment, kMaxAlignment));
  const auto align = static_cast<uint64_t>(alignment);
  if ((align & (align - 1)) != 0)
    return FailHere("'general.alignment' is " + std::to_string(align) + ", no power of two");
  if (out.tensors.empty()) return {};
  const uint64_t data = (position + align - 1) / align * align;
  bool quantised = false;
  std::unordered_set<std::string_view> names;
  std::vector<const GgufTensorInfo*> order;
  for (GgufTensorInfo& tensor : out.tensors) {
    const auto fail = [&](const std::string& what) {
      return FailHere("tensor '" + std::string(tensor.name) + "' " + what);
    };
    if (!names.insert(tensor.name).second) return fail("occurs twice");
    if (tensor.offset % align != 0) return fail("is not aligned");
    if (data > bytes.size() || tensor.offset > bytes.size() - data ||
        tensor.size_bytes > bytes.size() - data - tensor.offset)
      return fail("reaches beyond the end of the file (" + std::to_string(bytes.size()) +
                  " bytes); it was probably not downloaded completely");
    tensor.offset += data;
    quantised = quantised || quant::IsBlock(tensor.type);
    order.push_back(&tensor);
  }
  std::ranges::sort(order, {}, &GgufTensorInfo::offset);
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset - order[i - 1]->offset < order[i - 1]->size_bytes)
      return FailHere("tensors '" + std::string(order[i - 1]->name) + "' and '" + std::string(order[i]->name) +
                      "' overlap");
  if (quantised) {
    TRY_ASSIGN(const int64_t version, out.metadata.IntegerOr("general.quantization_version", 2, 0, 1 << 30));
    if (version != 2)
      return FailHere("'general.quantization_version' is " + std::to_string(version) + "; only 2 is known");
  }
  return {};
}

Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, std::string_view file_name) {
  GgufParser parser;
  parser.bytes = bytes;
  parser.file = file_name;
  TRY(parser.ParseMetadata());
  TRY(parser.ParseTensors());
  return std::move(parser.out);
}

Result<GgufMetadata> ParseGgufMetadata(std::span<const std::byte> bytes, std::string_view file_name) {
  GgufParser parser;
  parser.bytes = bytes;
  parser.file = file_name;
  TRY(parser.ParseMetadata());
  return std::move(parser.out.metadata);
}

}  // namespace carat::formats
