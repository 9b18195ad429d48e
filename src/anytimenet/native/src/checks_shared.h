// What the checks of a program share: a line for each thing that must hold.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.h"

namespace anytimenet {

[[noreturn]] void refuse(const char* what);

inline void need(bool holds, const char* what) {
    if (!holds) refuse(what);
}

inline bool inside(std::int32_t first, std::int32_t count, std::size_t whole) {
    return first >= 0 && count >= 0 && static_cast<std::int64_t>(first) + count <= static_cast<std::int64_t>(whole);
}

// Whether an operator fits its tensors and weights, and reads nothing that it writes.
void check_op(const Program& program, const Op& op);
// The order of things: what a part reads was written, and a stage that is stopped leaves the last state whole.
void check_stages(const Program& program);

}  // namespace anytimenet
