// What the pipeline graph has inside and a core graph leaves to its caller: scaling, compositing, rounding.
#pragma once

#include <cstdint>
#include <vector>

#include "engine.h"

namespace cmgan {

// Run a core graph on bytes: image (N, R, R, 3), mask (N, R, R), z (N, z_dim), all without gaps; the picture comes back.
// The network's own output goes to `raw`, float (N, 3, R, R), unless that is null.
std::vector<std::uint8_t> inpaint_core(Engine& engine, std::size_t count, const std::uint8_t* image,
                                       const std::uint8_t* mask, const float* z, float* raw);

}  // namespace cmgan
