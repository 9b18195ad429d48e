// The program as it lies in `program.bin`, read and checked. docs/reference/native_program.md describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace anytimenet {

constexpr std::int32_t kMagic = 0x504E5441;  // "ATNP"
constexpr std::int32_t kVersion = 1;
constexpr std::int32_t kHeaderWords = 16;

// What is wrong with a program or its weights, in one line.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Kind : std::int32_t { input = 0, kept = 1, scratch = 2, output = 3 };

struct Tensor {  // (channels, height, width) of one example; `flat`: a vector of `channels` numbers
    Kind kind;
    std::int32_t channels, height, width, flat;
};

struct Chunk {  // rows of numbers in a shard, and where they belong in a weight
    std::int32_t shard, offset_low, offset_high, rows, row_length, from_stride, to, to_stride;
    std::int64_t offset() const {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(offset_high)) << 32 |
                                         static_cast<std::uint32_t>(offset_low));
    }
};

struct Weight {
    std::int32_t first_chunk, chunks, numbers;
};

enum class Code : std::int32_t {
    conv = 1, affine = 2, add = 3, average_pool = 4, largest_pool = 5, zero = 6, mean = 7, linear = 8
};

constexpr std::int32_t kBlockEnd = 1;     // of Op::flags: the stop flag is looked at after this operator
constexpr std::int32_t kCountBorder = 2;  // an average counts the pixels of the padding

struct Op {
    Code code;
    std::int32_t flags;
    std::int32_t in, in_channel, in_channels;
    std::int32_t other, other_channel;  // of a sum; -1: none
    std::int32_t out, out_channel, out_channels;
    std::int32_t window_height, window_width, stride_y, stride_x, top, left, bottom, right, groups;
    std::int32_t weight, bias, gamma, beta, mean, variance, norm_channel;  // weights; -1: none
    float epsilon, low, high;
    std::int32_t reserved[3];
};

struct StateTensor {
    std::int32_t tensor, channels;
};

struct Stage {  // row 0 is the input, which has no operators
    std::int32_t body_first, body_count, head_first, head_count;
    std::int32_t state_first, state_count, output_first, output_count;
    std::int32_t answers;  // whether its head may run when a later stage was stopped
    std::int32_t reserved;
};

struct Program {
    std::int32_t shards = 0, stages = 0;
    std::vector<Tensor> tensors;
    std::vector<Chunk> chunks;
    std::vector<Weight> weights;
    std::vector<Op> ops;
    std::vector<Stage> table;            // of stages 0..K
    std::vector<StateTensor> states;
    std::vector<std::int32_t> outputs;   // tensors
};

// Throws Refused for whatever is not a program of this version that reads and writes its own memory alone.
Program read_program(const unsigned char* data, std::size_t size);

}  // namespace anytimenet
