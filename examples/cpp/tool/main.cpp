// cmgan-inpaint: one picture through an exported engine, on the C interface of the library alone.
#include <cmgan.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "../src/error.h"
#include "bench.h"
#include "noise.h"
#include "png_file.h"

namespace {

using cmgan::argument_error;
using cmgan::Error;

constexpr const char* kUsage =
    "usage: cmgan-inpaint [options] ENGINE photo.png mask.png out.png\n"
    "       cmgan-inpaint [options] --bench N ENGINE photo.png mask.png   times as JSON\n"
    "       cmgan-inpaint [options] --info ENGINE                         what the engine says about itself\n"
    "\n"
    "The pictures must be of the engine's own size; its mask rule says what a hole is (--info).\n"
    "\n"
    "  --seed N      draw z from this seed (0)\n"
    "  --z FILE      read z instead: z_dim little-endian float32\n"
    "  --raw FILE    write what the engine gives, without a header: uint8 (R, R, 3), or of a core graph float32 (3, R, R)\n"
    "  --threads N   of the engine (0: as many as its runtime thinks right)\n"
    "  --device D    cpu, cuda or cuda:N\n";

struct Arguments {
    std::uint64_t seed = 0;
    std::string z_file, raw_file, device;
    int threads = 0, bench = 0;
    bool info = false;
    std::vector<std::string> files;
};

template <class Number>
Number parse_number(const std::string& option, const std::string& text, Number least) {
    Number value{};
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc{} || end != text.data() + text.size() || value < least) {
        throw argument_error(option + " " + text + ": a whole number from " + std::to_string(least) + " is needed");
    }
    return value;
}

Arguments parse(const std::vector<std::string>& words) {
    Arguments arguments;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word.rfind("--", 0) != 0) {
            arguments.files.push_back(word);
            continue;
        }
        if (word == "--info") {
            arguments.info = true;
            continue;
        }
        if (i + 1 == words.size()) throw argument_error(word + ": unknown, or without its value; --help shows the options");
        const std::string& value = words[++i];
        if (word == "--seed") arguments.seed = parse_number<std::uint64_t>(word, value, 0);
        else if (word == "--z") arguments.z_file = value;
        else if (word == "--raw") arguments.raw_file = value;
        else if (word == "--threads") arguments.threads = parse_number(word, value, 0);
        else if (word == "--device") arguments.device = value;
        else if (word == "--bench") arguments.bench = parse_number(word, value, 1);
        else throw argument_error(word + ": no such option; --help shows them");
    }
    const std::size_t wanted = arguments.info ? 1 : arguments.bench ? 3 : 4;
    if (arguments.files.size() != wanted) {
        throw argument_error(std::to_string(arguments.files.size()) + " files; " + std::to_string(wanted) + " are needed");
    }
    return arguments;
}

void check(cmgan_status status) {
    if (status != CMGAN_OK) throw Error(status, cmgan_error());
}

struct Close {
    void operator()(cmgan_engine* engine) const { cmgan_close(engine); }
};
using Engine = std::unique_ptr<cmgan_engine, Close>;

Engine open(const Arguments& arguments) {
    cmgan_options options{};
    options.threads = arguments.threads;
    options.device = arguments.device.empty() ? nullptr : arguments.device.c_str();
    cmgan_engine* engine = nullptr;
    check(cmgan_open(arguments.files[0].c_str(), &options, &engine));
    return Engine(engine);
}

nlohmann::json described(const cmgan_facts& facts) {
    return {{"format", facts.format},         {"name", facts.name},         {"version", facts.version},
            {"precision", facts.precision},   {"pipeline", facts.pipeline}, {"layout", facts.layout},
            {"mask_rule", facts.mask_rule},   {"licence", facts.licence},   {"schema", facts.schema},
            {"resolution", facts.resolution}, {"z_dim", facts.z_dim},       {"hole_from", facts.hole_from},
            {"trained", facts.trained != 0},  {"on_gpu", facts.on_gpu != 0}};
}

void write_bytes(const std::string& path, const void* bytes, std::size_t size) {
    std::ofstream file(path, std::ios::binary);
    if (!file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size)).flush()) {
        throw Error(CMGAN_SYSTEM, path + ": cannot be written");
    }
}

// One picture with everything that a call needs. Its `call` points into it: it stays where it is.
struct Request {
    Request(const Arguments& arguments, const cmgan_facts& facts)
        : image(tool::read_png(arguments.files[1], facts.resolution, 3)),
          mask(tool::read_png(arguments.files[2], facts.resolution, 1)),
          z(arguments.z_file.empty() ? tool::draw_noise(arguments.seed, static_cast<std::size_t>(facts.z_dim))
                                     : tool::read_noise(arguments.z_file, static_cast<std::size_t>(facts.z_dim))),
          output(image.size()),
          raw(std::string(facts.pipeline) == "core" ? image.size() : 0) {
        call.count = 1;
        call.image = {image.data(), image.size(), 0, 0};
        call.mask = {mask.data(), mask.size(), 0, 0};
        call.z = z.data();
        call.z_count = z.size();
        call.output = {output.data(), output.size(), 0, 0};
        call.raw = raw.empty() ? nullptr : raw.data();
        call.raw_count = raw.size();
    }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    void write_raw(const std::string& path) const {
        if (raw.empty()) write_bytes(path, output.data(), output.size());
        else write_bytes(path, raw.data(), raw.size() * sizeof(float));
    }

    std::vector<std::uint8_t> image, mask;
    std::vector<float> z;
    std::vector<std::uint8_t> output;
    std::vector<float> raw;
    cmgan_call call{};
};

void run(const Arguments& arguments) {
    const auto start = tool::Clock::now();
    const Engine engine = open(arguments);
    const double open_ms = tool::since(start);
    cmgan_facts facts{};
    check(cmgan_info(engine.get(), &facts));
    if (arguments.info) {
        std::puts(described(facts).dump(2).c_str());
        return;
    }
    Request request(arguments, facts);
    const auto paint = [&] { check(cmgan_inpaint(engine.get(), &request.call)); };
    if (arguments.bench) {
        auto times = tool::bench(paint, arguments.bench);
        times["open_ms"] = open_ms;
        std::puts(times.dump(2).c_str());
        return;
    }
    paint();
    tool::write_png(arguments.files[3], facts.resolution, request.output);
    if (!arguments.raw_file.empty()) request.write_raw(arguments.raw_file);
    if (!facts.trained) std::fprintf(stderr, "%s: untrained weights paint nothing sensible\n", arguments.files[0].c_str());
}

}  // namespace

int main(int count, char** words) {
    if (count == 2 && std::strcmp(words[1], "--help") == 0) {
        std::fputs(kUsage, stdout);
        return 0;
    }
    try {
        run(parse({words + 1, words + count}));
        return 0;
    } catch (const Error& error) {
        std::fprintf(stderr, "cmgan-inpaint: %s\n", error.what());
        return error.status();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cmgan-inpaint: %s\n", error.what());
        return CMGAN_FAILED;
    }
}
