// What a session does one after the other: an operator, or two at once, with the memory that it reads and writes.
#pragma once

#include <cstdint>
#include <variant>

#include "kernels.h"

namespace anytimenet {

struct Clear {
    float* data;
    std::int64_t floats;
};

struct Framed {
    Frame frame;
    Conv conv;
    bool copies, depthwise;
};

// A product whose rows a depthwise convolution reads, some channels at a time, so that they stay in the cache.
struct Paired {
    Gemm product;
    Conv conv;
    int rows;  // at a time
};

struct Step {
    std::variant<Gemm, Framed, Affine, Add, Pool, Mean, Linear, Clear, Paired> work;
    bool block_end;
};

void run_step(const Kernels& kernels, const Step& step);

}  // namespace anytimenet
