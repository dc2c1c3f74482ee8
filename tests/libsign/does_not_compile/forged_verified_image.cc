// A VerifiedImage that no policy allowed. The tests compile this once for each FORGERY and expect the compiler's
// refusal by access control; without one it compiles, which shows that nothing else is wrong with it.
#include <utility>

#include "libimage/convert/convert.h"
#include "libimage/model/image.h"

using gantry::image::Conversion;
using gantry::image::FetchedImage;
using gantry::image::Image;
using gantry::image::VerifiedImage;

// What is allowed: to copy one that exists.
VerifiedImage Copied(const VerifiedImage& verified) { return verified; }

#if FORGERY == 1
VerifiedImage Forged(FetchedImage fetched) { return VerifiedImage(std::move(fetched), "me"); }
#elif FORGERY == 2
VerifiedImage Forged(FetchedImage fetched) { return {std::move(fetched), "me"}; }
#elif FORGERY == 3
struct Forger : VerifiedImage {
  explicit Forger(FetchedImage fetched) : VerifiedImage(std::move(fetched), "me") {}
};
#elif FORGERY == 4
void Forged(VerifiedImage& verified, const VerifiedImage& other) { verified.fetched_ = other.fetched_; }
#elif FORGERY == 5
VerifiedImage Forged(const VerifiedImage& verified, Image other) {
  return Conversion::Carry(verified, std::move(other));
}
#elif FORGERY == 6
struct Forger : Conversion {
  static VerifiedImage Forged(const VerifiedImage& verified, Image other) { return Carry(verified, std::move(other)); }
};
#endif
