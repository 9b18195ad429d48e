// The tensors of a program where they lie in the memory of one session.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "plan.h"
#include "program.h"

namespace anytimenet {

struct Tensors {
    const Program& program;
    const Plan& plan;
    float* memory;

    const float* at(std::int32_t tensor, std::int32_t channel) const;
    long plane(std::int32_t tensor) const;  // floats from one channel to the next
    // Where that channel is written: inside of an image, if a convolution reads it from there.
    Target target(std::int32_t tensor, std::int32_t channel) const;
    void copy_in(std::int32_t tensor, std::int32_t channels, const float* from) const;
    // Copies so many channels to `to`, which may be null, and tells how many numbers that is.
    std::int64_t copy_out(std::int32_t tensor, std::int32_t channels, float* to) const;

    // For tests: what was not written is not a number, and what lies behind a tensor may not be read.
    void poison() const;
    void guard() const;
};

}  // namespace anytimenet
