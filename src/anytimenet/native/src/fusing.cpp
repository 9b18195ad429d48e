#include "fusing.h"

#include <algorithm>
#include <functional>

namespace anytimenet {
namespace {

// Whether two runs of planes have a number in common.
bool overlap(const float* one, std::int64_t one_floats, const float* other, std::int64_t other_floats) {
    std::less<const float*> before_in_memory;
    return before_in_memory(one, other + other_floats) && before_in_memory(other, one + one_floats);
}

// Channels of an image that stay in the second cache (half of 512 KB) until the convolution reads them.
constexpr std::int64_t kCachedFloats = 64'000;

}  // namespace

bool joined(Step& before, const Affine& affine) {
    auto* product = std::get_if<Gemm>(&before.work);
    if (!product || product->next || product->out.data != affine.in || product->out.row || affine.out.row) return false;
    if (product->rows != affine.channels || affine.out.data == affine.in) return false;
    std::int64_t written = affine.channels * affine.out.plane;
    if (overlap(affine.out.data, written, product->in, product->columns * product->in_plane)) return false;
    if (overlap(affine.out.data, written, product->out.data, product->rows * product->out.plane)) return false;
    if (product->residual &&
        overlap(affine.out.data, written, product->residual, product->rows * product->residual_plane))
        return false;
    product->next = affine.out.data, product->next_plane = affine.out.plane;
    product->next_scale = affine.scale, product->next_shift = affine.shift;
    product->next_low = affine.low, product->next_high = affine.high;
    return true;
}

bool paired(Step& before, const Conv& conv, bool ends) {
    auto* product = std::get_if<Gemm>(&before.work);
    if (!product || product->rows != conv.groups || product->residual) return false;
    if (product->rows * conv.in_plane <= 2 * kCachedFloats) return false;
    // The last channels of the product still read what the first ones of the convolution must not write over.
    std::int64_t read = product->columns * product->in_plane, written = conv.groups * conv.out.plane;
    if (overlap(product->in, read, conv.out.data, written)) return false;
    auto tiles = std::max<std::int64_t>(1, kCachedFloats / (product->tile * conv.in_plane));
    before = {Paired{*product, conv, static_cast<int>(tiles) * product->tile}, ends};
    return true;
}

}  // namespace anytimenet
