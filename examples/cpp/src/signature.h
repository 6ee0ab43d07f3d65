// The inputs and outputs that an artefact must have, whatever its format.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "metadata.h"

namespace cmgan {

struct Port {
    std::string type;                  // uint8, float32, or what else the runtime calls it
    std::vector<std::int64_t> shape;   // without the batch
};
using Signature = std::map<std::string, Port>;

// Throws Error (CMGAN_MODEL), listing both, when a file has not the inputs and outputs that its metadata promise.
void check_signature(const Signature& seen, const Metadata& metadata);

}  // namespace cmgan
