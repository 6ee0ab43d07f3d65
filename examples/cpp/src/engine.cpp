#include "engine.h"

#include "backends.h"
#include "error.h"

namespace cmgan {
namespace {

struct Backend {
    const char* suffix;
    const char* title;
    const char* option;  // of CMake
    std::unique_ptr<Engine> (*open)(const std::string&, const Options&);  // null: not in this build
};

#ifdef CMGAN_WITH_ONNXRUNTIME
constexpr auto kOnnxRuntime = open_onnxruntime;
#else
constexpr decltype(Backend::open) kOnnxRuntime = nullptr;
#endif
#ifdef CMGAN_WITH_OPENVINO
constexpr auto kOpenvino = open_openvino;
#else
constexpr decltype(Backend::open) kOpenvino = nullptr;
#endif
#ifdef CMGAN_WITH_AOTI
constexpr auto kAoti = open_aoti;
#else
constexpr decltype(Backend::open) kAoti = nullptr;
#endif
#ifdef CMGAN_WITH_TENSORRT
constexpr auto kTensorrt = open_tensorrt;
#else
constexpr decltype(Backend::open) kTensorrt = nullptr;
#endif
#ifdef CMGAN_WITH_TENSORRT_RTX
constexpr auto kTensorrtRtx = open_tensorrt;
#else
constexpr decltype(Backend::open) kTensorrtRtx = nullptr;
#endif

constexpr Backend kBackends[] = {
    {".onnx", "ONNX Runtime", "CMGAN_ONNXRUNTIME", kOnnxRuntime},
    {".xml", "OpenVINO", "CMGAN_OPENVINO", kOpenvino},
    {".pt2", "AOTInductor", "CMGAN_AOTI", kAoti},
    {".engine", "TensorRT", "CMGAN_TENSORRT", kTensorrt},
    {".rtx", "TensorRT-RTX", "CMGAN_TENSORRT_RTX", kTensorrtRtx},
};

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Device parse_device(const std::string& text, const Device& otherwise) {
    if (text.empty()) return otherwise;
    if (text == "cpu") return {};
    if (text == "cuda") return {true, 0};
    const std::string digits = text.rfind("cuda:", 0) == 0 ? text.substr(5) : "";
    if (digits.empty() || digits.size() > 2 || digits.find_first_not_of("0123456789") != std::string::npos) {
        throw argument_error("device '" + text + "'; cpu, cuda and cuda:N are known");
    }
    return {true, std::stoi(digits)};
}

std::unique_ptr<Engine> open_engine(const std::string& path, const Options& options) {
    std::string suffixes;
    for (const Backend& backend : kBackends) {
        suffixes += std::string(suffixes.empty() ? "" : ", ") + backend.suffix;
        if (!ends_with(path, backend.suffix)) continue;
        if (!backend.open) {
            throw missing_error(std::string("is for ") + backend.title + ", which is not in this build: configure with -D" +
                                backend.option + "=ON");
        }
        return backend.open(path, options);
    }
    throw argument_error("is no exported file; their names end in " + suffixes);
}

}  // namespace cmgan
