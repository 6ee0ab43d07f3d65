#include "noise.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>

#include "../src/error.h"

namespace tool {

std::vector<float> draw_noise(std::uint64_t seed, std::size_t count) {
    std::mt19937_64 bits(seed);
    const auto uniform = [&bits] { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; };  // between 0 and 1
    const double turn = 2 * std::acos(-1.0);
    std::vector<float> z;
    while (z.size() < count) {
        const double radius = std::sqrt(-2 * std::log(uniform())), angle = turn * uniform();
        z.push_back(static_cast<float>(radius * std::cos(angle)));
        if (z.size() < count) z.push_back(static_cast<float>(radius * std::sin(angle)));
    }
    return z;
}

std::vector<float> read_noise(const std::string& path, std::size_t count) {
    std::vector<float> z(count);
    const auto size = static_cast<std::streamsize>(count * sizeof(float));
    std::ifstream file(path, std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(z.data()), size) || file.peek() != std::ifstream::traits_type::eof()) {
        throw cmgan::argument_error(path + ": cannot be read, or is not " + std::to_string(count) +
                                    " float32 numbers and nothing else");
    }
    return z;
}

}  // namespace tool
