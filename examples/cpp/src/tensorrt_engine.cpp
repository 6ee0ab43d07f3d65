// Engines of TensorRT and of TensorRT-RTX: one source, built against the headers of either.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

#include "backends.h"
#include "cuda_memory.h"
#include "error.h"
#include "signature.h"

namespace cmgan {
namespace {

// Keeps the last error, which is the reason that the library itself does not return.
class Log : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity > Severity::kERROR) return;
        try {
            const std::lock_guard lock(mutex_);
            reason_ = message;
        } catch (...) {  // a lost reason is no failure
        }
    }
    std::string reason() const {
        const std::lock_guard lock(mutex_);
        return reason_.empty() ? "no reason given" : reason_;
    }

private:
    mutable std::mutex mutex_;
    std::string reason_;
};

Port port_of(const nvinfer1::ICudaEngine& engine, const char* name) {
    const auto type = engine.getTensorDataType(name);
    const auto dims = engine.getTensorShape(name);
    Port port{type == nvinfer1::DataType::kUINT8   ? "uint8"
              : type == nvinfer1::DataType::kFLOAT ? "float32"
                                                   : "type " + std::to_string(static_cast<int>(type)),
              {}};
    for (int i = 1; i < dims.nbDims; ++i) port.shape.push_back(dims.d[i]);
    return port;
}

// Refuse an engine of another version of its library: neither library reads those.
void check_version(const nlohmann::json& details) {
    const std::string here = std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) +
                             "." + std::to_string(getInferLibPatchVersion());
    const auto built = details.at("version").get<std::string>();
    if (built != here && built.rfind(here + ".", 0) != 0) {
        throw model_error("was built with version " + built + ", and " + here + " is here; export it again");
    }
}

void check_gpu(const nlohmann::json& details, int index) {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || index >= count) {
        throw missing_error("runs on GPU " + std::to_string(index) + "; " + std::to_string(count) + " usable here");
    }
    cudaDeviceProp gpu{};
    check_cuda(cudaGetDeviceProperties(&gpu, index), "cudaGetDeviceProperties");
    const std::string capability = "sm_" + std::to_string(gpu.major) + std::to_string(gpu.minor);
    const auto targets = details.at("targets").get<std::vector<std::string>>();
    if (std::count(targets.begin(), targets.end(), capability)) return;
    std::string listed;
    for (const auto& target : targets) listed += (listed.empty() ? "" : ", ") + target;
    throw model_error("was built for " + listed + ", and " + gpu.name + " is " + capability + "; export it again");
}

class TensorrtEngine : public Engine {
public:
    TensorrtEngine(const std::string& path, const Options& options) {
        metadata_ = read_sidecar(path);
        const Device device = parse_device(options.device, {true, 0});
        if (!device.cuda) throw argument_error("device '" + options.device + "'; this engine runs on cuda");
        gpu_ = device.index;
        const auto details = nlohmann::json::parse(metadata_.details);
        check_version(details);
        check_gpu(details, gpu_);
        read_batches(details);
        check_cuda(cudaSetDevice(gpu_), "cudaSetDevice");
        load(read_checked(metadata_, path, file_name(path)));
        stream_ = std::make_unique<Stream>();
    }

    ~TensorrtEngine() override { cudaSetDevice(gpu_); }  // whose memory the members give back

    bool on_gpu() const override { return true; }

    void run(const Arrays& arrays) override {
        const std::lock_guard lock(mutex_);  // one context: threads take turns
        check_cuda(cudaSetDevice(gpu_), "cudaSetDevice");  // a property of the thread
        if (arrays.on_device) {
            run_on_device(arrays);
        } else {
            for (std::size_t start = 0; start < arrays.count; start += largest_) run_from_host(arrays, start);
        }
    }

private:
    struct Place {
        const char* name;
        std::size_t bytes;  // of one picture
        nvinfer1::Dims shape;
    };

    void read_batches(const nlohmann::json& details) {
        const auto batches = details.at("batches").get<std::vector<std::size_t>>();
        if (batches.size() != 3 || batches[0] < 1 || batches[2] < batches[0]) {
            throw model_error("has metadata with impossible batches; export it again");
        }
        least_ = batches[0];
        largest_ = batches[2];
    }

    void load(const std::string& plan) {
        runtime_.reset(nvinfer1::createInferRuntime(log_));
        if (!runtime_) throw missing_error("the library gives no runtime (" + log_.reason() + ")");
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        if (!engine_) throw model_error("the library refuses the engine (" + log_.reason() + "); export it again");
        Signature seen;
        for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
            const char* name = engine_->getIOTensorName(i);
            seen[name] = port_of(*engine_, name);
        }
        check_signature(seen, metadata_);
        context_.reset(engine_->createExecutionContext());
        if (!context_) throw Error(CMGAN_SYSTEM, "there is not enough memory on the GPU (" + log_.reason() + ")");
    }

    Place place(const char* name) const {
        const std::string text = name;
        const std::size_t bytes = text == "z"      ? sizeof(float) * static_cast<std::size_t>(metadata_.z_dim)
                                  : text == "mask" ? number_size(metadata_) * mask_numbers(metadata_)
                                                   : number_size(metadata_) * image_numbers(metadata_);
        return {name, bytes, engine_->getTensorShape(name)};
    }

    void bind(const Place& place, void* memory, std::size_t count) {
        nvinfer1::Dims shape = place.shape;
        shape.d[0] = static_cast<int>(count);
        const bool input = std::string(place.name) != "output";
        if (!context_->setTensorAddress(place.name, memory) || (input && !context_->setInputShape(place.name, shape))) {
            throw Error(CMGAN_FAILED, "the engine does not take " + std::string(place.name) + " (" + log_.reason() + ")");
        }
    }

    void execute() {
        if (!context_->enqueueV3(stream_->get())) {
            throw Error(CMGAN_FAILED, "the engine did not run (" + log_.reason() + ")");
        }
        check_cuda(cudaStreamSynchronize(stream_->get()), "cudaStreamSynchronize");
    }

    void run_on_device(const Arrays& arrays) {
        if (arrays.count < least_ || arrays.count > largest_) {
            throw argument_error("count is " + std::to_string(arrays.count) + "; on the device the engine takes " +
                                 std::to_string(least_) + " to " + std::to_string(largest_));
        }
        bind(place("image"), const_cast<void*>(arrays.image), arrays.count);
        bind(place("mask"), const_cast<void*>(arrays.mask), arrays.count);
        bind(place("z"), const_cast<float*>(arrays.z), arrays.count);
        bind(place("output"), arrays.output, arrays.count);
        execute();
    }

    // Up to `largest_` pictures from `start` on; fewer than the engine takes are filled up with the last one.
    void run_from_host(const Arrays& arrays, std::size_t start) {
        const std::size_t n = std::min(largest_, arrays.count - start), filled = std::max(n, least_);
        upload(place("image"), arrays.image, start, n, filled);
        upload(place("mask"), arrays.mask, start, n, filled);
        upload(place("z"), arrays.z, start, n, filled);
        const Place output = place("output");
        bind(output, memory(output).get(), filled);
        execute();
        char* to = static_cast<char*>(arrays.output) + start * output.bytes;
        check_cuda(cudaMemcpy(to, memory(output).get(), n * output.bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
    }

    void upload(const Place& place, const void* data, std::size_t start, std::size_t n, std::size_t filled) {
        char* to = memory(place).get();
        const char* from = static_cast<const char*>(data) + start * place.bytes;
        const auto copy = [&](std::size_t at, const char* pictures, std::size_t count) {
            check_cuda(cudaMemcpyAsync(to + at * place.bytes, pictures, count * place.bytes, cudaMemcpyHostToDevice,
                                       stream_->get()),
                       "cudaMemcpyAsync");
        };
        copy(0, from, n);
        for (std::size_t i = n; i < filled; ++i) copy(i, from + (n - 1) * place.bytes, 1);
        bind(place, to, filled);
    }

    // Memory for the engine's largest batch, allocated at the first call from the host.
    DeviceMemory& memory(const Place& place) {
        auto& memory = memory_[place.name];
        if (!memory) memory = std::make_unique<DeviceMemory>(largest_ * place.bytes);
        return *memory;
    }

    Log log_;
    int gpu_ = 0;
    std::size_t least_ = 1, largest_ = 1;
    std::mutex mutex_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::unique_ptr<Stream> stream_;
    std::map<std::string, std::unique_ptr<DeviceMemory>> memory_;
};

}  // namespace

std::unique_ptr<Engine> open_tensorrt(const std::string& path, const Options& options) {
    if (!std::filesystem::is_regular_file(path)) throw model_error("is no file that can be read");
    try {
        return std::make_unique<TensorrtEngine>(path, options);
    } catch (const nlohmann::json::exception&) {
        throw model_error("has metadata without the engine's versions and targets; export it again");
    }
}

}  // namespace cmgan
