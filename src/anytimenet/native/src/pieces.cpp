#include "pieces.h"

#include <algorithm>
#include <utility>

namespace anytimenet {

#if defined(__wasm__)  // small code; no other thread cancels there
void add_pieces(const Step& step, std::vector<Step>& to) { to.push_back(step); }
#else

namespace {

constexpr std::int64_t kLong = 3'000'000;       // multiply-adds of a piece: 100 microseconds with AVX2
constexpr std::int64_t kMostPieces = 64;        // so that a program of few bytes takes little memory
constexpr std::int64_t kKeptWeights = 32'768;   // floats that the second cache keeps while pixels pass by
constexpr int kFewPixels = 256;

// The largest multiple of `unit`, one at least, that is no more than `wanted`.
int multiple(std::int64_t wanted, int unit) { return static_cast<int>(std::max<std::int64_t>(1, wanted / unit) * unit); }

int tiles_of(int rows, int tile) { return (rows + tile - 1) / tile; }

// Rows [first, first + count) of a product; whole tiles.
Gemm some_rows(Gemm g, int first, int count) {
    g.weight += static_cast<long>(first) * g.columns, g.bias += first, g.rows = count;
    g.out.data += first * g.out.plane;
    if (g.residual) g.residual += first * g.residual_plane;
    if (g.next) g.next += first * g.next_plane;
    if (g.next_scale) g.next_scale += first;
    if (g.next_shift) g.next_shift += first;
    return g;
}

// Pixels [first, first + count); where it writes into an image with borders, whole rows.
Gemm some_pixels(Gemm g, int first, int count) {
    g.in += first, g.pixels = count;
    g.out.data += g.out.row ? static_cast<long>(first / g.out.width) * g.out.row : first;
    if (g.residual) g.residual += first;
    if (g.next) g.next += first;
    return g;
}

Conv some_groups(Conv c, int first, int count) {
    bool depthwise = c.tile == 0;
    long rows = depthwise ? 1 : static_cast<long>(tiles_of(c.group_out, c.tile)) * c.tile;
    c.weight += first * rows * c.group_in * c.tap_count, c.bias += first * rows, c.groups = count;
    c.in += static_cast<long>(first) * c.group_in * c.in_plane;
    c.out.data += static_cast<long>(first) * c.group_out * c.out.plane;
    return c;
}

Conv some_vectors(Conv c, int first, int count) {
    c.in_at += first, c.out_at += first, c.vectors = count;
    return c;
}

// Calls `add(first, count)` for pieces of `size`; the last one is of more than `least`.
template <class Add>
void in_pieces(int whole, int size, int least, Add add) {
    for (int first = 0; first < whole;) {
        int count = whole - first - size > least ? size : whole - first;
        add(first, count);
        first += count;
    }
}

std::int64_t work_of(const Gemm& g) { return static_cast<std::int64_t>(g.rows) * g.columns * g.pixels; }

std::int64_t work_of(const Conv& c) {
    std::int64_t weights = static_cast<std::int64_t>(c.groups) * c.group_out * c.group_in * c.tap_count;
    return weights * kLanes * c.vectors;
}

template <class Add>
void split(const Gemm& g, std::int64_t piece, Add add) {
    if (g.pixels <= kFewPixels) {
        int rows = multiple(piece / (static_cast<std::int64_t>(g.columns) * g.pixels), g.tile);
        rows = std::max(rows, multiple(kKeptWeights / g.columns, g.tile));
        return in_pieces(g.rows, rows, 0, [&](int first, int count) { add(some_rows(g, first, count)); });
    }
    // Pieces of whole vectors: what is left behind the last vector is computed in another way.
    int unit = g.out.row ? g.out.width : 1;
    while (unit % kLanes) unit *= 2;
    int pixels = multiple(piece / (static_cast<std::int64_t>(g.rows) * g.columns), unit);
    in_pieces(g.pixels, pixels, kLanes, [&](int first, int count) { add(some_pixels(g, first, count)); });
}

template <class Add>
void split(const Conv& c, std::int64_t piece, Add add) {
    if (c.groups > 1) {
        int groups = multiple(piece / (work_of(c) / c.groups), 1);
        return in_pieces(c.groups, groups, 0, [&](int first, int count) { add(some_groups(c, first, count)); });
    }
    constexpr int kBlock = 15;  // vectors: whole blocks of the kernels
    in_pieces(c.vectors, multiple(piece / (work_of(c) / c.vectors), kBlock), 0,
              [&](int first, int count) { add(some_vectors(c, first, count)); });
}

// By rounds of the product's rows that the cache holds.
template <class Add>
void split(const Paired& p, std::int64_t piece, Add add) {
    std::int64_t row = static_cast<std::int64_t>(p.product.columns) * p.product.pixels;
    in_pieces(p.product.rows, multiple(piece / row, p.rows), 0, [&](int first, int count) {
        // The rows of every round go to the same place, which the convolution reads.
        Paired some{some_rows(p.product, first, count), some_groups(p.conv, first, count), p.rows};
        some.product.out.data = p.product.out.data, some.conv.in = p.conv.in;
        add(some);
    });
}

}  // namespace

void add_pieces(const Step& step, std::vector<Step>& to) {
    auto add = [&](auto work) { to.push_back({work, step.block_end}); };
    auto piece = [](std::int64_t work) { return std::max(kLong, work / kMostPieces); };
    if (auto* product = std::get_if<Gemm>(&step.work); product && work_of(*product) > kLong)
        return split(*product, piece(work_of(*product)), add);
    if (auto* pair = std::get_if<Paired>(&step.work); pair && work_of(pair->product) > kLong)
        return split(*pair, piece(work_of(pair->product)), add);
    if (auto* framed = std::get_if<Framed>(&step.work); framed && work_of(framed->conv) > kLong) {
        bool copies = framed->copies;  // before the first piece
        return split(framed->conv, piece(work_of(framed->conv)), [&](const Conv& conv) {
            add(Framed{framed->frame, conv, std::exchange(copies, false), framed->depthwise});
        });
    }
    to.push_back(step);
}
#endif

}  // namespace anytimenet
