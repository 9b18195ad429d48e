#include "packing.h"

#include <cmath>
#include <cstring>

namespace anytimenet {
namespace {

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

// A weight, put together from its chunks; empty for none.
std::vector<float> gathered(const Program& program, std::int32_t index, const std::vector<Shard>& shards) {
    if (index < 0) return {};
    const Weight& weight = program.weights[at(index)];
    // A weight is never larger than what it is made of: checked before memory is taken for it.
    for (std::int32_t i = 0; i < weight.chunks; i++) {
        const Chunk& c = program.chunks[at(weight.first_chunk + i)];
        const Shard& shard = shards[at(c.shard)];
        std::int64_t span = static_cast<std::int64_t>(c.rows - 1) * c.from_stride + c.row_length;
        std::int64_t room = static_cast<std::int64_t>(shard.size) - c.offset();
        if (room < 0 || span > room / 4) throw Refused("a weight lies outside of its shard");
    }
    std::vector<float> numbers(at(weight.numbers));
    std::vector<bool> filled(numbers.size());
    for (std::int32_t i = 0; i < weight.chunks; i++) {
        const Chunk& c = program.chunks[at(weight.first_chunk + i)];
        const unsigned char* from = shards[at(c.shard)].data + c.offset();
        for (std::int32_t row = 0; row < c.rows; row++) {
            std::int64_t to = c.to + static_cast<std::int64_t>(row) * c.to_stride;
            std::memcpy(&numbers[at(to)], from + 4ll * row * c.from_stride, 4 * at(c.row_length));
            for (std::int64_t n = to; n < to + c.row_length; n++) {
                if (filled[at(n)]) throw Refused("the chunks of a weight overlap");
                filled[at(n)] = true;
            }
        }
    }
    for (float number : numbers)
        if (!std::isfinite(number)) throw Refused("a weight is not finite");
    return numbers;
}

// Scale and shift of a normalisation for the channels of one operator; empty where there is none.
void read_norm(const Program& program, const Op& op, const std::vector<Shard>& shards, std::vector<float>& scale,
               std::vector<float>& shift) {
    if (op.mean < 0) return;
    auto gamma = gathered(program, op.gamma, shards), beta = gathered(program, op.beta, shards);
    auto mean = gathered(program, op.mean, shards), variance = gathered(program, op.variance, shards);
    scale.resize(at(op.out_channels)), shift.resize(at(op.out_channels));
    for (std::int32_t c = 0; c < op.out_channels; c++) {
        std::size_t n = at(op.norm_channel + c);
        double factor = 1 / std::sqrt(static_cast<double>(variance[n]) + op.epsilon);
        if (!gamma.empty()) factor *= gamma[n];
        double offset = (beta.empty() ? 0.0 : beta[n]) - mean[n] * factor;
        scale[at(c)] = static_cast<float>(factor), shift[at(c)] = static_cast<float>(offset);
        if (!std::isfinite(scale[at(c)]) || !std::isfinite(shift[at(c)]))
            throw Refused("a normalisation is not finite");
    }
}

// Rows in tiles: of each tile, for every column the numbers of its rows, zeros where a group ends.
void pack_tiles(const std::vector<float>& rows, const std::vector<float>& bias, int groups, int group_rows,
                std::int64_t columns, Packed& to) {
    int tiles = (group_rows + to.tile - 1) / to.tile;
    std::int64_t total = static_cast<std::int64_t>(groups) * tiles * to.tile;
    if (total * columns > (1ll << 29)) throw Refused("a weight is too large");
    // Behind the last tile there is room for a vector, which may be read.
    to.weight.assign(at(total * columns + kLanes), 0), to.bias.assign(at(total), 0);
    for (int group = 0; group < groups; group++)
        for (int row = 0; row < group_rows; row++) {
            std::int64_t from = static_cast<std::int64_t>(group) * group_rows + row;
            std::int64_t tile = static_cast<std::int64_t>(group) * tiles + row / to.tile;
            int place = row % to.tile;
            to.bias[at(tile * to.tile + place)] = bias[at(from)];
            for (std::int64_t c = 0; c < columns; c++)
                to.weight[at((tile * columns + c) * to.tile + place)] = rows[at(from * columns + c)];
        }
}

Packed packed_conv(const Program& program, const Op& op, const std::vector<Shard>& shards, const Kernels& kernels) {
    Packed found;
    std::vector<float> weight = gathered(program, op.weight, shards), bias = gathered(program, op.bias, shards);
    std::vector<float> scale, shift;
    read_norm(program, op, shards, scale, shift);
    bias.resize(at(op.out_channels));
    std::int64_t columns = static_cast<std::int64_t>(weight.size()) / op.out_channels;
    for (std::int32_t row = 0; row < op.out_channels && !scale.empty(); row++) {
        bias[at(row)] = bias[at(row)] * scale[at(row)] + shift[at(row)];
        for (std::int64_t c = 0; c < columns; c++) weight[at(row * columns + c)] *= scale[at(row)];
    }
    if (is_depthwise(op)) {
        found.weight = std::move(weight), found.bias = std::move(bias);
        return found;
    }
    const Tensor& out = program.tensors[at(op.out)];
    int group_rows = op.out_channels / op.groups;
    found.tile = is_product(op) ? kernels.gemm_tile(group_rows, out.height * out.width) : kernels.conv_tile(group_rows);
    pack_tiles(weight, bias, op.groups, group_rows, columns, found);
    return found;
}

Packed packed_linear(const Program& program, const Op& op, const std::vector<Shard>& shards) {
    Packed found;
    std::vector<float> weight = gathered(program, op.weight, shards);
    found.bias = gathered(program, op.bias, shards);
    found.bias.resize(at(op.out_channels));
    std::int64_t columns = op.in_channels, stride = (columns + kLanes - 1) / kLanes * kLanes;
    if (stride * op.out_channels > (1ll << 29)) throw Refused("a weight is too large");
    found.weight.assign(at(stride * op.out_channels), 0);
    for (std::int64_t row = 0; row < op.out_channels; row++)
        std::memcpy(&found.weight[at(row * stride)], &weight[at(row * columns)], 4 * at(columns));
    return found;
}

}  // namespace

bool is_depthwise(const Op& op) {
    return op.groups > 1 && op.groups == op.in_channels && op.groups == op.out_channels;
}

bool is_product(const Op& op) {
    return op.window_height == 1 && op.window_width == 1 && op.stride_y == 1 && op.stride_x == 1 && !op.top &&
           !op.left && !op.bottom && !op.right && !is_depthwise(op);
}

Packed packed(const Program& program, const Op& op, const std::vector<Shard>& shards, const Kernels& kernels) {
    Packed found;
    switch (op.code) {
        case Code::conv: return packed_conv(program, op, shards, kernels);
        case Code::linear: return packed_linear(program, op, shards);
        case Code::affine:
        case Code::mean: read_norm(program, op, shards, found.scale, found.bias); return found;
        default: return found;
    }
}

bool has_weights(const Program& program, const Op& op, std::size_t shards) {
    std::vector<bool> marked(at(program.shards));
    mark_shards(program, op, marked);
    for (std::size_t shard = shards; shard < marked.size(); shard++)
        if (marked[shard]) return false;
    return true;
}

void mark_shards(const Program& program, const Op& op, std::vector<bool>& marked) {
    for (std::int32_t index : {op.weight, op.bias, op.gamma, op.beta, op.mean, op.variance}) {
        if (index < 0) continue;
        const Weight& weight = program.weights[at(index)];
        for (std::int32_t i = 0; i < weight.chunks; i++)
            marked[at(program.chunks[at(weight.first_chunk + i)].shard)] = true;
    }
}

}  // namespace anytimenet
