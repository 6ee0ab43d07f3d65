// z, the only source of variety.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

// `count` numbers of the normal distribution, the same for a seed on every machine: pairs of 53-bit uniform numbers from
// std::mt19937_64, turned by Box and Muller's formula.
std::vector<float> draw_noise(std::uint64_t seed, std::size_t count);

// `count` little-endian float32 and nothing else. Throws cmgan::Error (CMGAN_ARGUMENT).
std::vector<float> read_noise(const std::string& path, std::size_t count);

}  // namespace tool
