// Streams and memory of a GPU, given back when their objects go.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "error.h"

namespace cmgan {

inline void check_cuda(cudaError_t result, const char* function) {
    if (result == cudaSuccess) return;
    throw Error(CMGAN_SYSTEM, std::string("CUDA refuses ") + function + ": " + cudaGetErrorString(result));
}

class Stream {
public:
    Stream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

class DeviceMemory {
public:
    explicit DeviceMemory(std::size_t bytes) { check_cuda(cudaMalloc(&memory_, bytes), "cudaMalloc"); }
    ~DeviceMemory() { cudaFree(memory_); }
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    char* get() const { return static_cast<char*>(memory_); }

private:
    void* memory_ = nullptr;
};

}  // namespace cmgan
