// The one exception of the library: a status and a sentence. It ends at the C interface.
#pragma once

#include <stdexcept>
#include <string>

#include "cmgan.h"

namespace cmgan {

class Error : public std::runtime_error {
public:
    Error(cmgan_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
    cmgan_status status() const noexcept { return status_; }

private:
    cmgan_status status_;
};

inline Error argument_error(const std::string& message) { return {CMGAN_ARGUMENT, message}; }
inline Error model_error(const std::string& message) { return {CMGAN_MODEL, message}; }
inline Error missing_error(const std::string& message) { return {CMGAN_MISSING, message}; }

}  // namespace cmgan
