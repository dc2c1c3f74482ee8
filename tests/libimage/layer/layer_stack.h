// Random images for a comparison with umoci: stacks of valid layers in which entries meet one another in every way that
// umoci and gantry agree on, with everything that a tar entry can carry.
//
// Where the two differ, on purpose, the generator leaves the entry out: KnownDifference in the source has the list,
// with what either makes of it and why we keep to ours.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/libimage/layer/flatten_model.h"

namespace gantry::testing {

struct LayerStack {
  std::vector<ModelLayer> layers;            // what is where, with plain names
  std::vector<std::string> tars;             // base first
  std::map<std::string, std::string> names;  // what stands in the tars for each component of a name
};

// How often something was made, or left out and why.
using Tally = std::map<std::string, int>;

LayerStack RandomStack(std::mt19937& random, Tally& tally);

}  // namespace gantry::testing
