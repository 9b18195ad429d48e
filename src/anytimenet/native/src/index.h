// Numbers of a program, whose words have 32 bits and whose sums 64, in the types that C++ counts memory in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace anytimenet {

inline std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// From one plane to the next: no more than a session may have, which a `long` of 32 bits holds, too.
inline long apart(std::int64_t floats) { return static_cast<long>(floats); }

}  // namespace anytimenet
