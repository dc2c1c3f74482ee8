#include "libimage/base/lazy_library.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace gantry {
namespace {

constexpr const char* kRound[] = {"ceil", "floor"};
constexpr const char* kNoFunction[] = {"ceil", "there_is_no_such_function"};

// A table in memory that is read-only, as the linker leaves it.
class LazyLibraryTest : public testing::Test {
 protected:
  LazyLibraryTest() : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* const made = mmap(nullptr, page_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(made, MAP_FAILED);
    table_ = {static_cast<void**>(made), 2};
  }
  ~LazyLibraryTest() override { munmap(table_.data(), page_); }

  size_t page_;
  std::span<void*> table_;
};
using LazyLibraryDeathTest = LazyLibraryTest;

TEST_F(LazyLibraryTest, FindsEveryFunction) {
  GantryLoadLibrary({"libm.so.6", kRound, table_});
  double (*floor_of)(double) = nullptr;
  static_assert(sizeof floor_of == sizeof table_[1]);
  std::memcpy(&floor_of, &table_[1], sizeof floor_of);
  EXPECT_EQ(floor_of(2.5), 2.0);
}

TEST_F(LazyLibraryDeathTest, LeavesTheTableReadOnly) {
  GantryLoadLibrary({"libm.so.6", kRound, table_});
  EXPECT_DEATH(table_[0] = nullptr, "");
}

TEST_F(LazyLibraryDeathTest, EndsTheProcessWithoutTheLibrary) {
  EXPECT_EXIT(GantryLoadLibrary({"libgantry-nowhere.so.1", kRound, table_}), testing::ExitedWithCode(127),
              "cannot load libgantry-nowhere.so.1: .*No such file");
}

TEST_F(LazyLibraryDeathTest, EndsTheProcessWithoutOneOfTheFunctions) {
  EXPECT_EXIT(GantryLoadLibrary({"libm.so.6", kNoFunction, table_}), testing::ExitedWithCode(127),
              "cannot load libm.so.6: .*there_is_no_such_function");
}

// There a container's files would be executed.
TEST_F(LazyLibraryDeathTest, LoadsNothingOutOfAnotherRoot) {
  const auto load = [&] {
    if ((geteuid() != 0 && unshare(CLONE_NEWUSER) < 0) || chroot("/usr") < 0)
      _exit(1);
    GantryLoadLibrary({"libm.so.6", kRound, table_});
  };
  EXPECT_EXIT(load(), testing::ExitedWithCode(127), "cannot load libm.so.6: this process has entered another root");
}

}  // namespace
}  // namespace gantry
