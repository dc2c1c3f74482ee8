// Whether this machine's KVM is one, or whether guests are to be emulated.
//
// On some hosts /dev/kvm opens and tiny guests run, but each of their instructions is emulated and Linux hangs. So a
// guest of 20,000 loops is given a few milliseconds: a processor needs microseconds for it. The answer holds until the
// next boot and is kept in a cache.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/dir.h"

namespace gantry::runner::vm {

enum class Accelerator { kKvm, kTcg };

// "kvm", "tcg"; nullopt for "auto"; kUsage for anything else.
std::optional<Accelerator> ParseAccelerator(std::string_view text);

struct AcceleratorChoice {
  Accelerator accelerator = Accelerator::kTcg;
  std::string reason;  // why it is emulation, when nobody asked for it; empty otherwise
};

// `wanted` when given: kUnsupported for KVM that does not work. For single-threaded callers.
AcceleratorChoice ChooseAccelerator(std::optional<Accelerator> wanted, const Dir& cache);

// Runs the probe guest in a child: empty when KVM works, else why it does not.
std::string ProbeKvm();

// The frequency of this processor's time stamp counter in kHz, measured for a moment; 0 where it has none. An emulated
// guest sees that counter, and cannot always measure it itself: while it tries, it may not be running.
unsigned long MeasureTscKhz();

}  // namespace gantry::runner::vm
