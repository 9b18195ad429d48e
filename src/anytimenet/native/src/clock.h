// The clock of deadlines.
#pragma once

#include <cstdint>

namespace anytimenet {

std::int64_t now();  // nanoseconds of the steady clock

}  // namespace anytimenet
