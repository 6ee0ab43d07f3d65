// Opens and closes an engine again and again: cycles ENGINE N prints the bytes by which the process grew in N cycles, after
// some that are not counted.
#include <cmgan.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

long resident_bytes() {
    malloc_trim(0);  // what is free goes back to the system
    long size = 0, resident = 0;
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    if (!file || std::fscanf(file, "%ld %ld", &size, &resident) != 2) std::exit(1);
    std::fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

void cycle(const char* path, int times) {
    cmgan_options options{};
    options.threads = 1;
    for (int i = 0; i < times; ++i) {
        cmgan_engine* engine = nullptr;
        if (cmgan_open(path, &options, &engine) != CMGAN_OK) {
            std::fprintf(stderr, "%s\n", cmgan_error());
            std::exit(1);
        }
        cmgan_close(engine);
    }
}

}  // namespace

int main(int, char** words) {
    const int times = std::atoi(words[2]);
    cycle(words[1], times / 10 + 20);  // caches fill, and the heap finds its shape
    const long before = resident_bytes();
    cycle(words[1], times);
    std::printf("%ld\n", resident_bytes() - before);
}
