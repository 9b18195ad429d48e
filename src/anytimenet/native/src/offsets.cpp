#include "offsets.h"

#include <algorithm>

#include "index.h"

namespace anytimenet {
namespace {

// `out_row`: floats from one row of the result to the next.
Offsets offsets_of(const Op& op, const Tensor& out, int out_row, const Image& image, int lanes) {
    Offsets found;
    auto row = static_cast<int>(image.row), part = static_cast<int>(image.part);
    for (int y = 0; y < op.window_height; y++)
        for (int x = 0; x < op.window_width; x++)
            found.taps.push_back(y * row + x % image.step * part + x / image.step);
    auto add = [&](int y, int x) {
        found.in_at.push_back(y * op.stride_y * row + x * (op.stride_x / image.step));
        found.out_at.push_back(y * out_row + x);
    };
    if (2 * out.width <= lanes && out.height >= 2) {
        // Rows that fill half of a vector at most go two by two.
        found.in_second = op.stride_y * row, found.out_second = out_row;
        for (int y = 0; y < out.height; y += 2) add(std::min(y, out.height - 2), 0);
        return found;
    }
    for (int y = 0; y < out.height; y++)
        // The last vector of a row begins earlier rather than reach over its end.
        for (int x = 0; x < out.width; x += lanes) add(y, std::max(0, std::min(x, out.width - lanes)));
    return found;
}

}  // namespace

Offsets offsets_of(const Program& program, const Plan& plan, std::int32_t i, int lanes) {
    const Op& op = program.ops[index(i)];
    const Tensor& out = program.tensors[index(op.out)];
    std::int32_t inside = plan.tensors[index(op.out)].image;
    int out_row = inside < 0 ? out.width : static_cast<int>(plan.images[index(inside)].row);
    return offsets_of(op, out, out_row, plan.images[index(plan.image_of[index(i)])], lanes);
}

}  // namespace anytimenet
