#include "signature.h"

#include "error.h"

namespace cmgan {
namespace {

Signature promised(const Metadata& m) {
    const std::int64_t side = m.resolution;
    const Port z{"float32", {m.z_dim}};
    if (m.full()) {
        const Port pictures{"uint8", {side, side, 3}};
        return {{"image", pictures}, {"mask", {"uint8", {side, side}}}, {"z", z}, {"output", pictures}};
    }
    const Port planes{"float32", {3, side, side}};
    return {{"image", planes}, {"mask", {"float32", {1, side, side}}}, {"z", z}, {"output", planes}};
}

std::string listed(const Signature& signature) {
    std::string text;
    for (const auto& [name, port] : signature) {
        text += (text.empty() ? "" : ", ") + name + " " + port.type + " (N";
        for (const std::int64_t size : port.shape) text += ", " + std::to_string(size);
        text += ")";
    }
    return text;
}

}  // namespace

void check_signature(const Signature& seen, const Metadata& metadata) {
    const std::string here = listed(seen), wanted = listed(promised(metadata));
    if (here != wanted) throw model_error("has the inputs and outputs " + here + "; " + wanted + " are needed");
}

}  // namespace cmgan
