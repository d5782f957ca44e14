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

// Reading memory page by page of 4 KiB costs a fifth of its bandwidth and more. File systems that keep files in larger
// pieces (XFS; ext4 since Linux 6.16) map them by 2 MiB at once, if they were read for a mapping that asked for it, and
// if it begins at a multiple of 2 MiB. Elsewhere this changes nothing.
void* MapAligned(int fd, size_t size) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t room = size + kHugePage;
  void* reserved = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return MAP_FAILED;
  auto* begin = static_cast<std::byte*>(reserved);
  std::byte* aligned = begin + (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  void* address = ::mmap(aligned, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
  if (address == MAP_FAILED) {
    ::munmap(reserved, room);
    return MAP_FAILED;
  }
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::byte* end = aligned + (size + page - 1) / page * page;
  if (aligned > begin) ::munmap(begin, static_cast<size_t>(aligned - begin));
  if (end < begin + room) ::munmap(end, static_cast<size_t>(begin + room - end));
  ::madvise(address, size, MADV_HUGEPAGE);
  return address;
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
  void* address = MapAligned(file.fd_, file.size_);
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

void MappedFile::ExpectRows(std::span<const std::byte> part) const {
  Advise(part, MADV_NOHUGEPAGE);
  Advise(part, MADV_RANDOM);
}

void MappedFile::ExpectAll(std::span<const std::byte> part) const {
  Advise(part, MADV_HUGEPAGE);
  Advise(part, MADV_NORMAL);
}

void MappedFile::Advise(std::span<const std::byte> part, int advice) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<size_t>(part.data() - data_);
  const size_t first = (begin + page - 1) / page * page, end = (begin + part.size()) / page * page;  // whole pages
  if (first < end) ::madvise(const_cast<std::byte*>(data_) + first, end - first, advice);
}

void MappedFile::Forget() const {
  if (data_ != nullptr) ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

}  // namespace carat
