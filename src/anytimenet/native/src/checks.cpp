#include "checks.h"

#include "checks_shared.h"

namespace anytimenet {
namespace {

constexpr std::int64_t kMostNumbers = 1 << 28;  // of one tensor or weight
constexpr std::int64_t kMostOfAll = 1ll << 30;  // of all tensors
constexpr std::int32_t kMostSide = 1 << 15, kMostChannels = 1 << 20, kMostShards = 4096;

void check_tensors(const Program& program) {
    std::int64_t all = 0;
    int inputs = 0;
    for (const Tensor& t : program.tensors) {
        auto kind = static_cast<std::int32_t>(t.kind);
        need(kind >= 0 && kind <= 3, "a tensor is of no kind");
        need(t.flat == 0 || t.flat == 1, "a tensor is neither an image nor a vector");
        need(t.channels >= 1 && t.channels <= kMostChannels && t.height >= 1 && t.height <= kMostSide &&
                 t.width >= 1 && t.width <= kMostSide,
             "a tensor has no usable size");
        need(!t.flat || (t.height == 1 && t.width == 1), "a vector has more than one pixel");
        need(t.flat == (t.kind == Kind::output) || t.kind != Kind::output, "an output is no vector");
        std::int64_t pixels = static_cast<std::int64_t>(t.height) * t.width;
        need(pixels <= kMostNumbers, "a tensor is too large");
        std::int64_t numbers = t.channels * (pixels + 64);
        need(numbers <= kMostNumbers, "a tensor is too large");
        all += numbers;
        need(all <= kMostOfAll, "the tensors are too large together");
        inputs += t.kind == Kind::input;
        need(t.kind != Kind::input || !t.flat, "the input is no image");
    }
    need(inputs == 1, "there is not one input");
}

void check_weights(const Program& program) {
    need(program.shards >= 0 && program.shards <= kMostShards, "there are too many shards");
    for (const Chunk& c : program.chunks) {
        need(c.shard >= 0 && c.shard < program.shards, "a weight lies in no shard");
        need(c.offset() >= 0, "a weight begins before its shard");
        need(c.rows >= 1 && c.row_length >= 1 && c.from_stride >= c.row_length && c.to_stride >= c.row_length &&
                 c.to >= 0,
             "a weight has no usable shape");
    }
    for (const Weight& w : program.weights) {
        need(inside(w.first_chunk, w.chunks, program.chunks.size()), "a weight has no chunks");
        need(w.numbers >= 1 && w.numbers <= kMostNumbers, "a weight is too large");
        std::int64_t filled = 0;
        for (std::int32_t i = 0; i < w.chunks; i++) {
            const Chunk& c = program.chunks[static_cast<std::size_t>(w.first_chunk + i)];
            std::int64_t last = c.to + static_cast<std::int64_t>(c.rows - 1) * c.to_stride + c.row_length;
            need(last <= w.numbers, "a chunk leaves its weight");
            filled += static_cast<std::int64_t>(c.rows) * c.row_length;
            need(filled <= w.numbers, "the chunks of a weight overlap");
        }
        need(filled == w.numbers, "a weight is not complete");
    }
}

}  // namespace

void refuse(const char* what) { throw Refused(what); }

void check_program(const Program& program) {
    check_tensors(program);
    check_weights(program);
    for (const Op& op : program.ops) check_op(program, op);
    check_stages(program);
}

}  // namespace anytimenet
