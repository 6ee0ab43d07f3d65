// AOTInductor packages: native code and weights in one file, run by PyTorch's C++ library on the CPU or on CUDA.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <sys/utsname.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/headeronly/version.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "backends.h"
#include "error.h"

namespace cmgan {
namespace {

using Shape = std::vector<std::int64_t>;

// The words of the line of /proc/cpuinfo that lists the processor's instructions; empty where Linux has no such line.
std::set<std::string> cpu_instructions() {
    std::ifstream file("/proc/cpuinfo");
    std::string line;
    while (std::getline(file, line)) {
        if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        return {std::istream_iterator<std::string>(words), {}};
    }
    return {};
}

std::string platform() {
    utsname names{};
    uname(&names);
    return std::string("linux ") + names.machine;
}

// Refuse a package that was compiled for another PyTorch, platform or processor than those here.
void check_built_for(const nlohmann::json& wanted, const std::string& model) {
    const std::string again = "; compile it here: cmgan export --format aoti --model " + model;
    const std::string torch = TORCH_VERSION, release = torch.substr(0, torch.find('+'));
    const std::string facts[][2] = {{"torch", release}, {"platform", platform()}};
    for (const auto& [key, here] : facts) {
        const auto built = wanted.at(key).get<std::string>();
        if (built != here) throw model_error("was compiled for " + key + " " + built + ", and here is " + here + again);
    }
    const auto have = cpu_instructions();
    for (const auto& instruction : wanted.at("instructions").get<std::set<std::string>>()) {
        if (have.count(instruction)) continue;
        throw model_error("is native code with instructions that this processor does not have (" + instruction + ")" +
                          again);
    }
}

class AotiEngine : public Engine {
public:
    AotiEngine(const std::string& path, const Options& options) : threads_(options.threads) {
        metadata_ = read_sidecar(path);
        read_checked(metadata_, path, file_name(path));
        try {
            const auto details = nlohmann::json::parse(metadata_.details);
            check_built_for(details, metadata_.name);
            const auto built = details.at("device").get<std::string>();
            device_ = parse_device(options.device, {built == "cuda", 0});
            if (device_.cuda != (built == "cuda")) {
                throw missing_error("was compiled for " + built + "; export it again with --device");
            }
        } catch (const nlohmann::json::exception&) {
            throw model_error("has metadata that do not say what it was compiled for; export it again");
        }
        if (device_.cuda) at::globalContext().setAllowTF32CuDNN(false);
        loader_ = std::make_unique<torch::inductor::AOTIModelPackageLoader>(
            path, "model", false, 1, static_cast<c10::DeviceIndex>(device_.cuda ? device_.index : -1));
    }

    bool on_gpu() const override { return device_.cuda; }

    void run(const Arrays& arrays) override {
        const c10::InferenceMode guard;
        if (threads_) at::set_num_threads(threads_);  // of OpenMP: a property of the calling thread
        const auto n = static_cast<std::int64_t>(arrays.count), side = std::int64_t{metadata_.resolution};
        const bool full = metadata_.full();
        const auto type = full ? at::kByte : at::kFloat;
        const Shape image_shape = full ? Shape{n, side, side, 3} : Shape{n, 3, side, side};
        const Shape mask_shape = full ? Shape{n, side, side} : Shape{n, 1, side, side};
        const std::vector<at::Tensor> inputs{tensor(arrays, arrays.image, image_shape, type),
                                             tensor(arrays, arrays.mask, mask_shape, type),
                                             tensor(arrays, arrays.z, {n, metadata_.z_dim}, at::kFloat)};
        const std::vector<at::Tensor> outputs = loader_->run(inputs);
        if (outputs.empty() || outputs[0].sizes() != image_shape || outputs[0].scalar_type() != type) {
            throw Error(CMGAN_FAILED, "the package gives another output than its metadata promise; export it again");
        }
        borrowed(arrays.output, image_shape, type, arrays.on_device).copy_(outputs[0]);
        if (arrays.on_device) c10::impl::VirtualGuardImpl(at::kCUDA).getStream(device()).synchronize();
    }

private:
    at::Device device() const {
        return device_.cuda ? at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device_.index)) : at::Device(at::kCPU);
    }

    // Memory of the caller's as a tensor.
    at::Tensor borrowed(void* data, at::IntArrayRef shape, at::ScalarType type, bool on_device) const {
        const auto where = on_device ? device() : at::Device(at::kCPU);
        return at::from_blob(data, shape, at::TensorOptions().dtype(type).device(where));
    }

    // An input, on the engine's device.
    at::Tensor tensor(const Arrays& arrays, const void* data, at::IntArrayRef shape, at::ScalarType type) const {
        return borrowed(const_cast<void*>(data), shape, type, arrays.on_device).to(device());  // only read
    }

    int threads_;
    Device device_;
    std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader_;
};

}  // namespace

std::unique_ptr<Engine> open_aoti(const std::string& path, const Options& options) {
    if (!std::filesystem::is_regular_file(path)) throw model_error("is no file that can be read");
    try {
        return std::make_unique<AotiEngine>(path, options);
    } catch (const c10::Error& error) {
        throw model_error(std::string("PyTorch cannot load it (") + error.what_without_backtrace() + "); export it again");
    }
}

}  // namespace cmgan
