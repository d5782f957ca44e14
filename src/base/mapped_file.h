// A file opened for reading: mapped as a whole, and readable by offset without touching the mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "carat/result.h"

namespace carat {

// Move-only; the mapping and the descriptor live as long as the object. Any thread may read.
// The file must not be truncated while it is open (reading a page that is gone raises SIGBUS).
class MappedFile {
 public:
  MappedFile() = default;
  // Errors: kNotFound if there is no such file, kBadModel if it is a folder, pipe, device or socket, kFailure if it
  // cannot be read. A file of no bytes maps to an empty span.
  static Result<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }  // the same, as characters
  // Reads without making pages of the mapping resident. Error: kBadModel at the end of the file, kFailure on I/O
  // errors.
  Status ReadAt(uint64_t offset, std::span<std::byte> out) const;
  // Says that of `part`, a part of the mapping, rows will be looked at here and there: only their pages are to become
  // resident, not what lies around them.
  void ExpectRows(std::span<const std::byte> part) const;
  // Takes that back.
  void ExpectAll(std::span<const std::byte> part) const;
  // What was read of the mapping so far is no longer resident. It is read again when it is looked at.
  void Forget() const;

 private:
  void Close();
  void Advise(std::span<const std::byte> part, int advice) const;  // of madvise

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int fd_ = -1;
};

}  // namespace carat
