#include "bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace tool {
namespace {

double peak_mb() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux counts in KiB
}

}  // namespace

double since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

nlohmann::json bench(const std::function<void()>& paint, int turns) {
    std::vector<double> times;
    for (int i = 0; i <= turns; ++i) {
        const auto start = Clock::now();
        paint();
        times.push_back(since(start));
    }
    const double first = times.front();
    times.erase(times.begin());
    std::sort(times.begin(), times.end());
    const auto share = [&](std::size_t percent) { return times[(times.size() - 1) * percent / 100]; };
    return {{"first_ms", first}, {"best_ms", times.front()}, {"p50_ms", share(50)},
            {"p90_ms", share(90)}, {"turns", turns}, {"peak_mb", peak_mb()}};
}

}  // namespace tool
