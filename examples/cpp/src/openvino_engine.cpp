// OpenVINO IR on the CPU. As in Python, a model is compiled for one picture and pictures run one by one: where all sizes
// are known OpenVINO plans its buffers ahead.
#include <openvino/openvino.hpp>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <vector>

#include "backends.h"
#include "error.h"
#include "signature.h"

namespace cmgan {
namespace {

// As many requests to a compiled model as it serves at once; a picture takes one, or waits for it.
class Requests {
public:
    explicit Requests(ov::CompiledModel& model) {
        const auto count = model.get_property(ov::optimal_number_of_infer_requests);
        for (std::uint32_t i = 0; i < count; ++i) free_.push_back(model.create_infer_request());
    }

    template <class Use>
    void with_one(Use use) {
        Taken taken(*this);
        use(taken.request);
    }

private:
    struct Taken {
        explicit Taken(Requests& from) : from(from) {
            std::unique_lock lock(from.mutex_);
            from.given_back_.wait(lock, [&] { return !from.free_.empty(); });
            request = from.free_.back();
            from.free_.pop_back();
        }
        ~Taken() {
            {
                const std::lock_guard lock(from.mutex_);
                from.free_.push_back(request);  // there is room: it was taken from there
            }
            from.given_back_.notify_one();
        }
        Taken(const Taken&) = delete;
        Taken& operator=(const Taken&) = delete;

        Requests& from;
        ov::InferRequest request;
    };

    std::mutex mutex_;
    std::condition_variable given_back_;
    std::vector<ov::InferRequest> free_;
};

// The type in which convolutions and products are computed. Always pinned: left alone, OpenVINO computes in bf16 wherever
// the CPU can. int8 and auto promise no more than int8's accuracy, so that bf16 will do for what is not int8.
ov::element::Type arithmetic(const std::string& precision, bool has_bf16) {
    if (precision == "fp32") return ov::element::f32;
    if (precision == "int8" || precision == "auto") return has_bf16 ? ov::element::bf16 : ov::element::f32;
    if (precision != "bf16") throw model_error("is of precision " + precision + "; OpenVINO runs fp32, bf16, int8, auto");
    if (!has_bf16) {
        throw missing_error("is of precision bf16, in which OpenVINO computes only on CPUs with AVX-512 BF16 or AMX");
    }
    return ov::element::bf16;
}

Port port_of(const ov::Output<const ov::Node>& port) {
    const auto type = port.get_element_type();
    Port seen{type == ov::element::u8 ? "uint8" : type == ov::element::f32 ? "float32" : type.get_type_name(), {}};
    for (const std::size_t size : port.get_shape()) seen.shape.push_back(static_cast<std::int64_t>(size));
    if (!seen.shape.empty()) seen.shape.erase(seen.shape.begin());
    return seen;
}

class OpenvinoEngine : public Engine {
public:
    OpenvinoEngine(const std::string& path, const Options& options) {
        if (parse_device(options.device, {}).cuda) throw missing_error("runs on the cpu: OpenVINO reaches no NVIDIA GPU");
        metadata_ = read_sidecar(path);
        ov::Core core;
        const auto capabilities = core.get_property("CPU", ov::device::capabilities);
        const bool has_bf16 = std::count(capabilities.begin(), capabilities.end(), "BF16") > 0;
        ov::AnyMap settings{ov::hint::inference_precision(arithmetic(metadata_.precision, has_bf16)),
                            ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY), ov::cache_dir("")};
        if (options.threads) settings.insert(ov::inference_num_threads(options.threads));
        model_ = core.compile_model(read(core, path), "CPU", settings);
        check();
        requests_ = std::make_unique<Requests>(model_);
    }

    void run(const Arrays& arrays) override {
        const std::size_t image = image_numbers(metadata_) * number_size(metadata_);
        const std::size_t mask = mask_numbers(metadata_) * number_size(metadata_);
        for (std::size_t n = 0; n < arrays.count; ++n) {
            requests_->with_one([&](ov::InferRequest& request) {
                bind(request, "image", static_cast<const char*>(arrays.image) + n * image);
                bind(request, "mask", static_cast<const char*>(arrays.mask) + n * mask);
                bind(request, "z", arrays.z + n * static_cast<std::size_t>(metadata_.z_dim));
                bind(request, "output", static_cast<char*>(arrays.output) + n * image);
                request.infer();
            });
        }
    }

private:
    std::shared_ptr<ov::Model> read(ov::Core& core, const std::string& path) const {
        const std::string xml = read_checked(metadata_, path, file_name(path));
        const std::string weights_name = std::filesystem::path(path).filename().replace_extension(".bin").string();
        const std::string bytes = read_checked(metadata_, path, weights_name);
        ov::Tensor weights(ov::element::u8, {bytes.size()});
        std::copy(bytes.begin(), bytes.end(), weights.data<char>());
        const auto model = core.read_model(xml, weights);
        std::map<ov::Output<ov::Node>, ov::PartialShape> one_picture;
        for (const auto& input : model->inputs()) {
            auto shape = input.get_partial_shape();
            if (shape.rank().is_static() && shape.size()) shape[0] = 1;
            one_picture[input] = shape;
        }
        model->reshape(one_picture);
        return model;
    }

    void check() const {
        Signature seen;
        for (const auto& input : model_.inputs()) seen[input.get_any_name()] = port_of(input);
        for (const auto& output : model_.outputs()) seen[output.get_any_name()] = port_of(output);
        check_signature(seen, metadata_);
    }

    void bind(ov::InferRequest& request, const char* name, const void* data) const {
        const auto port = std::string(name) == "output" ? model_.output(name) : model_.input(name);
        request.set_tensor(port, {port.get_element_type(), port.get_shape(), const_cast<void*>(data)});
    }

    ov::CompiledModel model_;
    std::unique_ptr<Requests> requests_;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const std::string& path, const Options& options) {
    if (!std::filesystem::is_regular_file(path)) throw model_error("is no file that can be read");
    try {
        return std::make_unique<OpenvinoEngine>(path, options);
    } catch (const ov::Exception& error) {
        throw model_error(std::string("OpenVINO refuses it (") + error.what() + "); export it again");
    }
}

}  // namespace cmgan
