#include "base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "base/resident.h"

namespace carat {
namespace {

std::filesystem::path Write(const char* name, const std::string& content) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(MappedFile, MapsAndReads) {
  auto file = MappedFile::Open(Write("mapped", "0123456789"));
  ASSERT_TRUE(file);
  ASSERT_EQ(file->bytes().size(), 10u);
  EXPECT_EQ(std::memcmp(file->bytes().data(), "0123456789", 10), 0);
  std::byte out[4];
  ASSERT_TRUE(file->ReadAt(6, out));
  EXPECT_EQ(std::memcmp(out, "6789", 4), 0);
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().size(), 10u);
  EXPECT_TRUE(file->bytes().empty());
}

// A file that is not in the page cache: what is there already may be in large pieces, which are mapped as wholes.
TEST(MappedFile, RowsBringInTheirPagesAlone) {
  const auto path = Write("rows", std::string(size_t{8} << 20, 'x'));
  struct statfs system{};
  ASSERT_EQ(::statfs(path.c_str(), &system), 0);
  if (system.f_type == TMPFS_MAGIC) GTEST_SKIP() << "this file system keeps files nowhere else than in memory";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::fsync(fd), 0);
  ASSERT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file);
  const std::span<const std::byte> all = file->bytes();
  file->ExpectRows(all.subspan(100, all.size() - 200));
  EXPECT_EQ(all[size_t{5} << 20], std::byte{'x'});
  EXPECT_GT(ResidentBytes(all.data(), all.size()), 0u);
  EXPECT_LE(ResidentBytes(all.data(), all.size()), 128u << 10);
  file->ExpectRows(all.first(10));  // no whole page: nothing to say
}

TEST(MappedFile, RefusesReadsBeyondTheEnd) {
  auto file = MappedFile::Open(Write("mapped", "0123456789"));
  ASSERT_TRUE(file);
  std::byte out[4];
  EXPECT_EQ(file->ReadAt(7, out).error().code, ErrorCode::kBadModel);
  EXPECT_EQ(file->ReadAt(~0ull, out).error().code, ErrorCode::kBadModel);
}

TEST(MappedFile, NamesWhatItCannotOpen) {
  auto missing = MappedFile::Open("/no/such/file");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/no/such/file"), std::string::npos);
  auto empty = MappedFile::Open(Write("empty", ""));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const std::string pipe = testing::TempDir() + "/carat_pipe", socket_path = testing::TempDir() + "/carat_socket";
  ::unlink(pipe.c_str());
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1), sizeof(address.sun_path) - 1);
  ::unlink(address.sun_path);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  for (const auto& [path, kind] : {std::pair{testing::TempDir(), "a folder"},
                                   {pipe, "a pipe"},
                                   {std::string(address.sun_path), "a socket"},
                                   {std::string("/dev/zero"), "a device"}}) {
    const auto file = MappedFile::Open(path);
    ASSERT_FALSE(file) << path;
    EXPECT_EQ(file.error().code, ErrorCode::kBadModel);
    EXPECT_EQ(file.error().message, path + ": is " + kind + "; only a regular file can be mapped");
  }
  ::close(listener);
  ::unlink(address.sun_path);
  ::unlink(pipe.c_str());
}

}  // namespace
}  // namespace carat
