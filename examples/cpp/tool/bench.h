// How long an engine takes to start and for a picture, and how much memory.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

namespace tool {

using Clock = std::chrono::steady_clock;

// Milliseconds since `start`.
double since(Clock::time_point start);

// Call `paint` once and then `turns` times. Gives first_ms, p50_ms, p90_ms, best_ms, turns and peak_mb (of the process).
nlohmann::json bench(const std::function<void()>& paint, int turns);

}  // namespace tool
