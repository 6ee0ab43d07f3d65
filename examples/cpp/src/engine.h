// What a back end does: run a graph on arrays without gaps.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "metadata.h"

namespace cmgan {

// Where an engine runs.
struct Device {
    bool cuda = false;
    int index = 0;
};

struct Options {
    int threads = 0;      // 0: the runtime decides
    std::string device;   // as the caller wrote it; "": not said
};

// The graph's arrays, each without gaps. Of a full graph: uint8 (N, R, R, 3), uint8 (N, R, R), uint8 (N, R, R, 3).
// Of a core graph: float (N, 3, R, R), float (N, 1, R, R), float (N, 3, R, R).
struct Arrays {
    std::size_t count = 0;  // N
    const void* image = nullptr;
    const void* mask = nullptr;
    const float* z = nullptr;  // (N, z_dim)
    void* output = nullptr;
    bool on_device = false;  // all four are memory of the engine's GPU; only set if on_gpu()
};

class Engine {
public:
    virtual ~Engine() = default;

    // Fill `output`. Safe to call from several threads.
    virtual void run(const Arrays& arrays) = 0;

    // Whether it runs on a GPU and takes arrays that lie there.
    virtual bool on_gpu() const { return false; }

    const Metadata& metadata() const { return metadata_; }

protected:
    Metadata metadata_;
};

// Numbers in one picture of the graph's image (and output), in its mask, and the bytes of one number.
inline std::size_t image_numbers(const Metadata& m) { return std::size_t{3} * m.resolution * m.resolution; }
inline std::size_t mask_numbers(const Metadata& m) { return std::size_t{1} * m.resolution * m.resolution; }
inline std::size_t number_size(const Metadata& m) { return m.full() ? 1 : sizeof(float); }

// "cpu", "cuda" or "cuda:N"; `otherwise` if nothing was said. Throws Error (CMGAN_ARGUMENT).
Device parse_device(const std::string& text, const Device& otherwise);

// Open an artefact with the back end for its suffix. Throws Error.
std::unique_ptr<Engine> open_engine(const std::string& path, const Options& options);

}  // namespace cmgan
