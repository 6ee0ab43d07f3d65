#include "call.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core_graph.h"
#include "error.h"

namespace cmgan {
namespace {

// A caller's pixels after checking: where each row lies.
template <class Byte>
struct Rows {
    Byte* data;
    std::size_t count, height, width;  // pictures, rows, bytes in a row
    std::size_t row_stride, picture_stride;

    Byte* row(std::size_t picture, std::size_t y) const { return data + picture * picture_stride + y * row_stride; }
    bool without_gaps() const {
        return row_stride == width && (count == 1 || picture_stride == width * height);
    }
    const Byte* end() const { return row(count - 1, height - 1) + width; }
};

template <class Byte, class Pixels>
Rows<Byte> checked(const char* name, const Pixels& pixels, std::size_t count, std::size_t side, std::size_t channels) {
    const std::size_t width = side * channels;
    if (!pixels.data) throw argument_error(std::string(name) + ".data is null");
    Rows<Byte> rows{pixels.data, count, side, width, pixels.row_stride ? pixels.row_stride : width, pixels.picture_stride};
    std::size_t picture = 0, last = 0, needed = 0;
    const bool overflows = __builtin_mul_overflow(rows.row_stride, side, &picture) ||
                           __builtin_mul_overflow(rows.picture_stride ? rows.picture_stride : picture, count - 1, &last) ||
                           __builtin_add_overflow(last, rows.row_stride * (side - 1) + width, &needed);
    if (!rows.picture_stride) rows.picture_stride = picture;
    if (rows.row_stride < width || rows.picture_stride < width) {
        throw argument_error(std::string(name) + " has a row stride of " + std::to_string(rows.row_stride) +
                             " and a picture stride of " + std::to_string(rows.picture_stride) + " bytes; a row has " +
                             std::to_string(width));
    }
    if (overflows || pixels.size < needed) {
        throw argument_error(std::string(name) + " has " + std::to_string(pixels.size) + " bytes; " +
                             (overflows ? "more than memory holds" : std::to_string(needed)) + " are needed for " +
                             std::to_string(count) + " of " + std::to_string(side) + " x " + std::to_string(side));
    }
    return rows;
}

std::vector<std::uint8_t> gathered(const Rows<const std::uint8_t>& rows) {
    std::vector<std::uint8_t> bytes(rows.count * rows.height * rows.width);
    auto to = bytes.begin();
    for (std::size_t n = 0; n < rows.count; ++n) {
        for (std::size_t y = 0; y < rows.height; ++y) to = std::copy_n(rows.row(n, y), rows.width, to);
    }
    return bytes;
}

void scatter(const std::vector<std::uint8_t>& bytes, const Rows<std::uint8_t>& rows) {
    const std::uint8_t* from = bytes.data();
    for (std::size_t n = 0; n < rows.count; ++n) {
        for (std::size_t y = 0; y < rows.height; ++y, from += rows.width) std::memcpy(rows.row(n, y), from, rows.width);
    }
}

bool overlap(const void* a, const void* a_end, const void* b, const void* b_end) {
    const std::less<const void*> before;  // also of pointers into different arrays
    return before(a, b_end) && before(b, a_end);
}

void check_floats(const char* name, const float* data, std::size_t seen, std::size_t needed) {
    if (!data) throw argument_error(std::string(name) + " is null");
    if (seen < needed) {
        throw argument_error(std::string(name) + " has " + std::to_string(seen) + " numbers; " + std::to_string(needed) +
                             " are needed");
    }
}

void check_device_call(const Engine& engine, bool without_gaps, bool overlaps) {
    if (!engine.on_gpu()) throw argument_error("on_device is set, and this engine does not run on a GPU");
    if (!engine.metadata().full()) throw argument_error("on_device is set, and a core graph takes memory of the host");
    if (!without_gaps) throw argument_error("on_device is set, and arrays there must be without gaps");
    if (overlaps) throw argument_error("on_device is set, and output overlaps an input");
}

void run_full(Engine& engine, Arrays arrays, const Rows<std::uint8_t>& output, bool staged) {
    std::vector<std::uint8_t> stage(staged ? output.count * output.height * output.width : 0);
    arrays.output = staged ? stage.data() : output.data;
    engine.run(arrays);
    if (staged) scatter(stage, output);
}

}  // namespace

void inpaint(Engine& engine, const cmgan_call& call) {
    const Metadata& facts = engine.metadata();
    if (call.count < 1) throw argument_error("count is " + std::to_string(call.count) + "; 1 or more is needed");
    const auto count = static_cast<std::size_t>(call.count), side = static_cast<std::size_t>(facts.resolution);
    const auto image = checked<const std::uint8_t>("image", call.image, count, side, 3);
    const auto mask = checked<const std::uint8_t>("mask", call.mask, count, side, 1);
    const auto output = checked<std::uint8_t>("output", call.output, count, side, 3);
    const std::size_t z_count = count * static_cast<std::size_t>(facts.z_dim);
    check_floats("z", call.z, call.z_count, z_count);
    if (call.raw) check_floats("raw", call.raw, call.raw_count, count * image_numbers(facts));
    if (call.raw && facts.full()) throw argument_error("raw is not null, and only core graphs give it");

    const bool overlaps = overlap(output.data, output.end(), image.data, image.end()) ||
                          overlap(output.data, output.end(), mask.data, mask.end()) ||
                          overlap(output.data, output.end(), call.z, call.z + z_count);
    if (call.on_device) {
        check_device_call(engine, image.without_gaps() && mask.without_gaps() && output.without_gaps(), overlaps);
        engine.run({count, image.data, mask.data, call.z, output.data, true});
        return;
    }
    const auto image_copy = image.without_gaps() ? std::vector<std::uint8_t>() : gathered(image);
    const auto mask_copy = mask.without_gaps() ? std::vector<std::uint8_t>() : gathered(mask);
    const std::uint8_t* pixels = image.without_gaps() ? image.data : image_copy.data();
    const std::uint8_t* holes = mask.without_gaps() ? mask.data : mask_copy.data();
    if (facts.full()) {
        run_full(engine, {count, pixels, holes, call.z, nullptr, false}, output, overlaps || !output.without_gaps());
    } else {
        scatter(inpaint_core(engine, count, pixels, holes, call.z, call.raw), output);
    }
}

}  // namespace cmgan
