// Weights as kernels read them, made once when a program is loaded.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "program.h"

namespace anytimenet {

struct Shard {
    const unsigned char* data;
    std::size_t size;
};

// The numbers of one operator: a packed weight, a bias or shift for each row, and a scale for each channel.
struct Packed {
    std::vector<float> weight, bias, scale;
    int tile = 0;
};

bool is_depthwise(const Op& op);
// A 1x1 convolution with stride 1 and no border, which is a matrix product.
bool is_product(const Op& op);

// Throws Refused if numbers lie outside of their shard, or are not finite.
Packed packed(const Program& program, const Op& op, const std::vector<Shard>& shards, const Kernels& kernels);

// Whether all weights that an operator reads lie in the first `shards` shards.
bool has_weights(const Program& program, const Op& op, std::size_t shards);
// Marks the shards in which they lie.
void mark_shards(const Program& program, const Op& op, std::vector<bool>& marked);

}  // namespace anytimenet
