#include "clock.h"

#include <chrono>
#include <ctime>

namespace anytimenet {

std::int64_t now() {
#if defined(__wasm__)
    timespec time;  // chrono would bring the words of all system errors with it
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1'000'000'000ll * time.tv_sec + time.tv_nsec;
#else
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
#endif
}

}  // namespace anytimenet
