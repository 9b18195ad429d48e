// Memory for numbers: aligned, and in large pages where there are any, for planes lie far apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace anytimenet {

struct FreeFloats {
    void operator()(float* p) const { std::free(p); }
};
using Floats = std::unique_ptr<float, FreeFloats>;

// So many zeros; throws std::bad_alloc.
inline Floats zeros(std::size_t count) {
    if (count > SIZE_MAX / 8) throw std::bad_alloc();  // where pointers have 32 bits
    constexpr std::size_t kLine = 64;
#if defined(__linux__)
    constexpr std::size_t kPage = 1 << 21;
    std::size_t align = 4 * count >= kPage ? kPage : kLine;
#else
    constexpr std::size_t align = kLine;
#endif
    std::size_t bytes = (4 * count + align - 1) / align * align;
    Floats found(static_cast<float*>(std::aligned_alloc(align, bytes ? bytes : align)));
    if (!found) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (align == kPage) madvise(found.get(), bytes, MADV_HUGEPAGE);
#endif
    std::memset(found.get(), 0, bytes);
    return found;
}

}  // namespace anytimenet
