// From a caller's batch to a graph's arrays and back.
#pragma once

#include "cmgan.h"
#include "engine.h"

namespace cmgan {

// Check every argument, run the engine, and write the output. Throws Error.
void inpaint(Engine& engine, const cmgan_call& call);

}  // namespace cmgan
