#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace carat {

namespace {
std::unexpected<Error> FailErrno(ErrorCode code, const std::filesystem::path& path) {
  return Fail(code, path.string() + ": " + std::strerror(errno));
}

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

std::unexpected<Error> FailKind(const std::filesystem::path& path, mode_t mode) {
  return Fail(ErrorCode::kBadModel, path.string() + ": is " + KindOf(mode) + "; only a regular file can be mapped");
}
}  // namespace

Result<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  MappedFile file;
  file.path_ = path;
  struct stat info{};
  // Looked at before it is opened too: sockets cannot be, and opening a device can do something.
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) return FailKind(path, info.st_mode);
  file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would wait for one
  if (file.fd_ < 0)
    return FailErrno(errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kFailure, path);
  if (::fstat(file.fd_, &info) != 0) return FailErrno(ErrorCode::kFailure, path);
  if (!S_ISREG(info.st_mode)) return FailKind(path, info.st_mode);
  if (info.st_size == 0) return file;
  file.size_ = static_cast<size_t>(info.st_size);
  void* address = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, file.fd_, 0);
  if (address == MAP_FAILED) {
    file.size_ = 0;
    return FailErrno(ErrorCode::kFailure, path);
  }
  file.data_ = static_cast<const std::byte*>(address);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    Close();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

MappedFile::~MappedFile() { Close(); }

void MappedFile::Close() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

Status MappedFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset)
    return Fail(ErrorCode::kBadModel, path_.string() + ": read beyond the end of the file");
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(ErrorCode::kFailure, path_);
    if (got == 0) return Fail(ErrorCode::kBadModel, path_.string() + ": the file became shorter while it was in use");
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

}  // namespace carat
