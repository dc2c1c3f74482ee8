#include "libimage/base/progress.h"

namespace gantry {
namespace {

class Silent : public Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

}  // namespace

Progress& SilentProgress() {
  static Silent silent;
  return silent;
}

}  // namespace gantry
