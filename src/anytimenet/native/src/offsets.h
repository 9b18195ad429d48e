// Where a convolution reads and writes: computed once, when a program is loaded.
#pragma once

#include <vector>

#include "plan.h"
#include "program.h"

namespace anytimenet {

// Offsets that a convolution reads and writes by; see `Conv`.
struct Offsets {
    std::vector<int> taps, in_at, out_at;
    int in_second = 0, out_second = 0;
};

// Of an operator that reads an image with borders, for vectors of so many lanes.
Offsets offsets_of(const Program& program, const Plan& plan, std::int32_t op, int lanes);

}  // namespace anytimenet
