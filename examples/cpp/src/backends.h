// The back ends; which of them are in a build is chosen by CMake.
#pragma once

#include "engine.h"

namespace cmgan {

std::unique_ptr<Engine> open_onnxruntime(const std::string& path, const Options& options);
std::unique_ptr<Engine> open_openvino(const std::string& path, const Options& options);
std::unique_ptr<Engine> open_aoti(const std::string& path, const Options& options);
std::unique_ptr<Engine> open_tensorrt(const std::string& path, const Options& options);  // and TensorRT-RTX

}  // namespace cmgan
