// Images made to harm, one kind of damage each, and what a reader has to say about it.
//
// A kind bends one part of a small sound image before the parts that name it are made, so that all digests and sizes
// are right but for the ones that it is about: what is refused is refused by the check that is meant.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace gantry::testing {

struct HostileKind {
  std::string name;
  std::string reason;  // part of the message
  // Writes the image below the empty directory and returns its name.
  std::function<std::string(const std::string& directory)> write;
  // Of a layer that a conversion takes apart without harm, and only the renderer meets what is wrong with it.
  bool renderer_only = false;
};

std::vector<HostileKind> HostileKinds();

}  // namespace gantry::testing
