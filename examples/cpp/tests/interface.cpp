// The C interface against its promises, on a real artefact; built with the sanitizers. Every buffer is a vector of exactly
// the bytes that the interface asks for, so that a byte read or written beside it is found.
#include <cmgan.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

void expect(bool condition, const char* what, int line) {
    if (condition) return;
    std::fprintf(stderr, "line %d: %s; last error: %s\n", line, what, cmgan_error());
    std::exit(1);
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)

using Bytes = std::vector<std::uint8_t>;

// N pictures, masks and z, as cmgan_call wants them.
struct Batch {
    Batch(const cmgan_facts& facts, std::size_t count) : side(static_cast<std::size_t>(facts.resolution)) {
        image.resize(count * side * side * 3);
        mask.resize(count * side * side);
        z.resize(count * static_cast<std::size_t>(facts.z_dim));
        output.resize(image.size());
        std::uint32_t state = 1;  // a small generator, the same numbers everywhere
        const auto next = [&state] { return (state = state * 1664525U + 1013904223U) >> 24; };
        for (auto& byte : image) byte = static_cast<std::uint8_t>(next());
        for (auto& number : z) number = static_cast<float>(next()) / 64.0F - 2.0F;
        for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % side < side / 2 ? 127 : 128;  // the right half
        call.count = static_cast<int>(count);
        call.image = {image.data(), image.size(), 0, 0};
        call.mask = {mask.data(), mask.size(), 0, 0};
        call.z = z.data();
        call.z_count = z.size();
        call.output = {output.data(), output.size(), 0, 0};
    }

    std::size_t side;
    Bytes image, mask, output;
    std::vector<float> z;
    cmgan_call call{};
};

// `pictures` of `side` rows of `width` bytes, with `gap` bytes after each row and after each picture.
Bytes spread(const Bytes& tight, std::size_t side, std::size_t width, std::size_t gap) {
    Bytes spread;
    for (std::size_t at = 0, row = 1; at < tight.size(); at += width, ++row) {
        spread.insert(spread.end(), tight.begin() + static_cast<long>(at), tight.begin() + static_cast<long>(at + width));
        if (at + width < tight.size()) spread.insert(spread.end(), row % side ? gap : 2 * gap, 77);
    }
    return spread;
}

void bad_opens(const char* path) {
    cmgan_engine* engine = nullptr;
    cmgan_options options{};
    EXPECT(cmgan_open(path, nullptr, nullptr) == CMGAN_ARGUMENT);
    EXPECT(cmgan_open(nullptr, nullptr, &engine) == CMGAN_ARGUMENT && !engine);
    EXPECT(cmgan_open("no such file.onnx", nullptr, &engine) != CMGAN_OK && !engine);
    EXPECT(cmgan_open("/", nullptr, &engine) == CMGAN_ARGUMENT && !engine);
    options.threads = -1;
    EXPECT(cmgan_open(path, &options, &engine) == CMGAN_ARGUMENT && !engine);
    options.threads = 0;
    options.device = "abacus";
    EXPECT(cmgan_open(path, &options, &engine) == CMGAN_ARGUMENT && !engine);
    options.device = "cuda:7";
    EXPECT(cmgan_open(path, &options, &engine) != CMGAN_OK && !engine);
    EXPECT(*cmgan_error());
    cmgan_close(nullptr);
}

template <class Change>
void refused(cmgan_engine* engine, Batch& batch, Change change, int line) {
    cmgan_call call = batch.call;
    change(call);
    expect(cmgan_inpaint(engine, &call) == CMGAN_ARGUMENT && *cmgan_error(), "CMGAN_ARGUMENT", line);
}
#define REFUSED(change) refused(engine, batch, [&](cmgan_call & call) { change; }, __LINE__)

void bad_calls(cmgan_engine* engine, const cmgan_facts& facts) {
    Batch batch(facts, 2);
    cmgan_facts other{};
    std::vector<float> raw(batch.image.size() - 1);
    EXPECT(cmgan_info(nullptr, &other) == CMGAN_ARGUMENT);
    EXPECT(cmgan_info(engine, nullptr) == CMGAN_ARGUMENT);
    EXPECT(cmgan_inpaint(nullptr, &batch.call) == CMGAN_ARGUMENT);
    EXPECT(cmgan_inpaint(engine, nullptr) == CMGAN_ARGUMENT);
    REFUSED(call.count = 0);
    REFUSED(call.count = -1);
    REFUSED(call.count = 3);           // than there are pictures
    REFUSED(call.count = 2147483647);  // than memory holds
    REFUSED(call.image.data = nullptr);
    REFUSED(call.mask.data = nullptr);
    REFUSED(call.output.data = nullptr);
    REFUSED(call.z = nullptr);
    REFUSED(call.image.size = 0);
    REFUSED(call.image.size -= 1);
    REFUSED(call.mask.size -= 1);
    REFUSED(call.output.size -= 1);
    REFUSED(call.z_count -= 1);
    REFUSED(call.image.row_stride = batch.side * 3 - 1);
    REFUSED(call.mask.row_stride = batch.side - 1);
    REFUSED(call.output.row_stride = batch.side * 3 + 1);  // goes over the end
    REFUSED(call.output.picture_stride = 1);
    REFUSED(call.image.row_stride = SIZE_MAX);
    REFUSED(call.image.picture_stride = SIZE_MAX; call.image.size = SIZE_MAX);
    REFUSED(call.raw = raw.data(); call.raw_count = raw.size());
    REFUSED(call.on_device = 1);  // on a CPU
}

Bytes painted(cmgan_engine* engine, Batch& batch) {
    EXPECT(cmgan_inpaint(engine, &batch.call) == CMGAN_OK);
    return batch.output;
}

void known_pixels_stay(cmgan_engine* engine, const cmgan_facts& facts) {
    Batch batch(facts, 1);
    const Bytes output = painted(engine, batch);
    std::size_t changed = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
        if (batch.mask[i / 3] < facts.hole_from) EXPECT(output[i] == batch.image[i]);
        else changed += output[i] != batch.image[i];
    }
    EXPECT(changed > output.size() / 4);
}

void strides(cmgan_engine* engine, const cmgan_facts& facts) {
    Batch batch(facts, 2);
    const std::size_t side = batch.side, gap = 5;
    const Bytes wanted = painted(engine, batch);
    const auto view = [&](auto& pixels, auto& bytes, std::size_t width) {
        pixels = {bytes.data(), bytes.size(), width + gap, side * (width + gap) + gap};
    };
    const Bytes image = spread(batch.image, side, side * 3, gap), mask = spread(batch.mask, side, side, gap);
    Bytes output = spread(Bytes(wanted.size()), side, side * 3, gap);
    view(batch.call.image, image, side * 3);
    view(batch.call.mask, mask, side);
    view(batch.call.output, output, side * 3);
    EXPECT(cmgan_inpaint(engine, &batch.call) == CMGAN_OK);
    EXPECT(output == spread(wanted, side, side * 3, gap));  // and what lies between the rows is untouched
}

void in_place(cmgan_engine* engine, const cmgan_facts& facts) {
    Batch batch(facts, 2);
    const Bytes wanted = painted(engine, batch);
    batch.call.output = {batch.image.data(), batch.image.size(), 0, 0};
    EXPECT(cmgan_inpaint(engine, &batch.call) == CMGAN_OK);
    EXPECT(batch.image == wanted);
}

void threads(cmgan_engine* engine, const cmgan_facts& facts) {
    Batch first(facts, 1);
    const Bytes wanted = painted(engine, first);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            Batch batch(facts, 1);
            for (int turn = 0; turn < 3; ++turn) EXPECT(painted(engine, batch) == wanted);
            EXPECT(!*cmgan_error());  // what failed in another thread is not this one's
        });
    }
    for (auto& thread : threads) thread.join();
}

}  // namespace

int main(int, char** words) {
    bad_opens(words[1]);
    cmgan_options options{};
    options.threads = 1;
    cmgan_engine *engine = nullptr, *other = nullptr;
    EXPECT(cmgan_open(words[1], &options, &engine) == CMGAN_OK && engine);
    EXPECT(cmgan_open(words[1], nullptr, &other) == CMGAN_OK && other);
    cmgan_close(other);  // which leaves the first as it is
    cmgan_facts facts{};
    EXPECT(cmgan_info(engine, &facts) == CMGAN_OK);
    bad_calls(engine, facts);
    known_pixels_stay(engine, facts);
    strides(engine, facts);
    in_place(engine, facts);
    threads(engine, facts);
    cmgan_close(engine);
    std::puts("passed");
}
