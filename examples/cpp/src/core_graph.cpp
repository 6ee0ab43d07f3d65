#include "core_graph.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace cmgan {

std::vector<std::uint8_t> inpaint_core(Engine& engine, std::size_t count, const std::uint8_t* image,
                                       const std::uint8_t* mask, const float* z, float* raw) {
    const Metadata& facts = engine.metadata();
    const std::size_t plane = mask_numbers(facts), pixels = count * plane;
    std::vector<float> planes(3 * pixels), holes(pixels), own(raw ? 0 : 3 * pixels);
    if (!raw) raw = own.data();
    const auto at = [plane](std::size_t pixel, std::size_t channel) {  // of NCHW
        return (pixel / plane * 3 + channel) * plane + pixel % plane;
    };
    const auto in_hole = [&](std::size_t pixel) { return mask[pixel] >= facts.hole_from; };

    for (std::size_t i = 0; i < pixels; ++i) {
        holes[i] = in_hole(i) ? 1.0F : 0.0F;
        for (std::size_t c = 0; c < 3; ++c) planes[at(i, c)] = static_cast<float>(image[3 * i + c]) / 127.5F - 1.0F;
    }
    engine.run({count, planes.data(), holes.data(), z, raw, false});

    std::vector<std::uint8_t> painted(image, image + 3 * pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
        if (!in_hole(i)) continue;
        for (std::size_t c = 0; c < 3; ++c) {
            const float level = (std::clamp(raw[at(i, c)], -1.0F, 1.0F) + 1.0F) * 127.5F;
            if (std::isnan(level)) throw Error(CMGAN_FAILED, "the network gave something that is no number");
            painted[3 * i + c] = static_cast<std::uint8_t>(std::nearbyint(level));  // halves to even, as NumPy's rint
        }
    }
    return painted;
}

}  // namespace cmgan
