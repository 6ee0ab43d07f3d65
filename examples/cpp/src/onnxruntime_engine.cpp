// ONNX files in ONNX Runtime, on the CPU or through its CUDA provider.
#define ORT_API_MANUAL_INIT  // so that a library older than the headers is told, not followed into a null pointer
#include <onnxruntime_cxx_api.h>

#include <array>
#include <filesystem>

#include "backends.h"
#include "error.h"
#include "signature.h"

namespace cmgan {
namespace {

const char* const kInputs[] = {"image", "mask", "z"};
const char* const kOutputs[] = {"output"};

bool api_loaded() {
    const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) {
        throw missing_error("needs ONNX Runtime 1." + std::to_string(ORT_API_VERSION) +
                            " or newer, with which this library was built; here is " + OrtGetApiBase()->GetVersionString());
    }
    Ort::InitApi(api);
    return true;
}

Port port_of(const Ort::TypeInfo& info) {
    const auto tensor = info.GetTensorTypeAndShapeInfo();
    auto shape = tensor.GetShape();
    if (!shape.empty()) shape.erase(shape.begin());
    switch (tensor.GetElementType()) {
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return {"uint8", shape};
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return {"float32", shape};
        default: return {"type " + std::to_string(tensor.GetElementType()), shape};
    }
}

class OnnxRuntimeEngine : public Engine {
public:
    OnnxRuntimeEngine(const std::string& path, const Options& options)
        : device_(parse_device(options.device, {})),
          env_(ORT_LOGGING_LEVEL_FATAL, "cmgan"),
          session_(env_, path.c_str(), settings(options.threads)),
          memory_(device_.cuda ? Ort::MemoryInfo("Cuda", OrtDeviceAllocator, device_.index, OrtMemTypeDefault)
                               : Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault)) {
        metadata_ = read();
        check_signature(signature(), metadata_);
    }

    bool on_gpu() const override { return device_.cuda; }

    void run(const Arrays& arrays) override {
        const auto n = static_cast<std::int64_t>(arrays.count), side = std::int64_t{metadata_.resolution};
        const auto type = metadata_.full() ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        const auto tensor = [&](const void* data, std::size_t numbers, const std::array<std::int64_t, 4>& shape,
                                std::size_t rank) {
            return Ort::Value::CreateTensor(arrays.on_device ? memory_ : host_, const_cast<void*>(data),  // only read
                                            arrays.count * numbers * number_size(metadata_), shape.data(), rank, type);
        };
        const std::size_t pixels = mask_numbers(metadata_);
        const std::array<std::int64_t, 4> image_shape =
            metadata_.full() ? std::array<std::int64_t, 4>{n, side, side, 3} : std::array<std::int64_t, 4>{n, 3, side, side};
        const std::array<std::int64_t, 2> z_shape{n, metadata_.z_dim};
        const Ort::Value inputs[] = {
            tensor(arrays.image, 3 * pixels, image_shape, 4),
            metadata_.full() ? tensor(arrays.mask, pixels, {n, side, side, 0}, 3)
                             : tensor(arrays.mask, pixels, {n, 1, side, side}, 4),
            Ort::Value::CreateTensor<float>(arrays.on_device ? memory_ : host_, const_cast<float*>(arrays.z),
                                            arrays.count * static_cast<std::size_t>(metadata_.z_dim), z_shape.data(), 2)};
        Ort::Value output = tensor(arrays.output, 3 * pixels, image_shape, 4);
        session_.Run(Ort::RunOptions{nullptr}, kInputs, inputs, 3, kOutputs, &output, 1);
    }

private:
    Ort::SessionOptions settings(int threads) const {
        Ort::SessionOptions settings;
        settings.SetIntraOpNumThreads(threads);
        settings.DisableMemPattern();  // as in Python: a third less memory, no slower
        if (device_.cuda) {
            OrtCUDAProviderOptions cuda{};
            cuda.device_id = device_.index;
            settings.AppendExecutionProvider_CUDA(cuda);
        }
        return settings;
    }

    Metadata read() const {
        const Ort::AllocatorWithDefaultOptions allocator;
        const Ort::ModelMetadata strings = session_.GetModelMetadata();
        return read_metadata([&](const std::string& key) -> std::optional<std::string> {
            const auto value = strings.LookupCustomMetadataMapAllocated(("cmgan." + key).c_str(), allocator);
            if (!value) return std::nullopt;
            return std::string(value.get());
        });
    }

    Signature signature() const {
        const Ort::AllocatorWithDefaultOptions allocator;
        Signature seen;
        for (std::size_t i = 0; i < session_.GetInputCount(); ++i) {
            seen[session_.GetInputNameAllocated(i, allocator).get()] = port_of(session_.GetInputTypeInfo(i));
        }
        for (std::size_t i = 0; i < session_.GetOutputCount(); ++i) {
            seen[session_.GetOutputNameAllocated(i, allocator).get()] = port_of(session_.GetOutputTypeInfo(i));
        }
        return seen;
    }

    Device device_;
    Ort::Env env_;
    Ort::Session session_;
    Ort::MemoryInfo memory_;
    Ort::MemoryInfo host_ = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
};

}  // namespace

std::unique_ptr<Engine> open_onnxruntime(const std::string& path, const Options& options) {
    if (!std::filesystem::is_regular_file(path)) throw model_error("is no file that can be read");
    [[maybe_unused]] static const bool loaded = api_loaded();  // once, whichever thread comes first
    try {
        return std::make_unique<OnnxRuntimeEngine>(path, options);
    } catch (const Ort::Exception& error) {
        throw model_error(std::string("ONNX Runtime refuses it (") + error.what() + "); export it again");
    }
}

}  // namespace cmgan
