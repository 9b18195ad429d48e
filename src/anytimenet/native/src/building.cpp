#include "building.h"

#include <utility>

#include "fusing.h"
#include "index.h"

namespace anytimenet {
namespace {

class Builder {
  public:
    Builder(const Engine& engine, const Tensors& tensors)
        : engine_(engine), program_(engine.program), tensors_(tensors) {}

    void add(std::int32_t i) {
        const Op& op = program_.ops[index(i)];
        switch (op.code) {
            case Code::conv:
                if (is_product(op)) add_products(i, op);
                else add_conv(i, op);
                break;
            case Code::affine: add_affine(i, op); break;
            case Code::add:
                step(op, Add{in(op), tensors_.at(op.other, op.other_channel), in_plane(op), tensors_.plane(op.other),
                             out(op), op.out_channels, pixels(op.out), op.low, op.high});
                break;
            case Code::average_pool:
            case Code::largest_pool: add_pool(op); break;
            case Code::zero: step(op, Clear{out(op).data, out(op).plane * op.out_channels}); break;
            case Code::mean: {
                const Numbers& p = engine_.numbers[index(i)];
                step(op, Mean{p.scale, p.bias, in(op), in_plane(op), out(op).data, op.out_channels, pixels(op.in),
                              op.low, op.high});
                break;
            }
            case Code::linear: {
                const Numbers& p = engine_.numbers[index(i)];
                int stride = (op.in_channels + kLanes - 1) / kLanes * kLanes;
                step(op, Linear{p.weight, p.bias, in(op), out(op).data, op.out_channels, op.in_channels, stride, op.low,
                                op.high});
                break;
            }
        }
    }

    std::vector<Step> steps;

  private:
    // What the operator reads; none of those that write zeros.
    const float* in(const Op& op) const { return op.in >= 0 ? tensors_.at(op.in, op.in_channel) : nullptr; }
    long in_plane(const Op& op) const { return op.in >= 0 ? tensors_.plane(op.in) : 0; }
    Target out(const Op& op) const { return tensors_.target(op.out, op.out_channel); }
    int pixels(std::int32_t tensor) const {
        return program_.tensors[index(tensor)].height * program_.tensors[index(tensor)].width;
    }

    template <class Work>
    void step(const Op& op, const Work& work) {
        steps.push_back({work, (op.flags & kBlockEnd) != 0});
    }

    void add_affine(std::int32_t i, const Op& op) {
        const Numbers& p = engine_.numbers[index(i)];
        Affine affine{p.scale, p.bias, in(op), in_plane(op), out(op), op.out_channels, pixels(op.out), op.low, op.high};
        if (steps.empty() || !joined(steps.back(), affine)) step(op, affine);
    }

    void add_pool(const Op& op) {
        const Tensor &from = program_.tensors[index(op.in)], &to = program_.tensors[index(op.out)];
        step(op, Pool{in(op), in_plane(op), out(op), op.out_channels, from.height, from.width, to.height, to.width,
                      op.window_height, op.window_width, op.stride_y, op.stride_x, op.top, op.left, op.bottom, op.right,
                      op.code == Code::largest_pool, (op.flags & kCountBorder) != 0});
    }

    // A 1x1 convolution: a product for each group.
    void add_products(std::int32_t i, const Op& op) {
        const Numbers& p = engine_.numbers[index(i)];
        int group_in = op.in_channels / op.groups, group_out = op.out_channels / op.groups;
        std::int64_t rows = static_cast<std::int64_t>((group_out + p.tile - 1) / p.tile) * p.tile;
        bool ends = op.flags & kBlockEnd, sums = op.other >= 0;
        for (std::int32_t g = 0; g < op.groups; g++) {
            Gemm product{};
            product.weight = p.weight + g * rows * group_in, product.bias = p.bias + g * rows;
            product.in = tensors_.at(op.in, op.in_channel + g * group_in), product.in_plane = in_plane(op);
            if (sums) product.residual = tensors_.at(op.other, op.other_channel);
            if (sums) product.residual_plane = tensors_.plane(op.other);
            product.out = tensors_.target(op.out, op.out_channel + g * group_out);
            product.rows = group_out, product.columns = group_in, product.pixels = pixels(op.out);
            product.tile = p.tile, product.low = op.low, product.high = op.high;
            steps.push_back({product, ends && g == op.groups - 1});
        }
    }

    // It reads an image with borders, into which its input is copied unless that was written there.
    void add_conv(std::int32_t i, const Op& op) {
        const Image& image = engine_.plan.images[index(engine_.plan.image_of[index(i)])];
        float* first = tensors_.memory + image.at;
        Conv conv = windows(i, op, image, first);
        bool copies = engine_.plan.tensors[index(op.in)].image < 0, ends = op.flags & kBlockEnd;
        if (is_depthwise(op) && !copies && paired(steps.back(), conv, ends)) return;
        Frame frame{copies ? in(op) : nullptr,
                    in_plane(op),
                    first,
                    apart(image.plane),
                    op.in_channels,
                    image.height,
                    image.width,
                    static_cast<int>(image.row),
                    image.top,
                    image.left,
                    image.step,
                    static_cast<int>(image.part)};
        step(op, Framed{frame, conv, copies, is_depthwise(op)});
    }

    Conv windows(std::int32_t i, const Op& op, const Image& image, const float* first) const {
        const Numbers& p = engine_.numbers[index(i)];
        const Offsets& o = engine_.offsets[index(i)];
        Conv conv{p.weight, p.bias, first, apart(image.plane), out(op), o.taps.data(), o.in_at.data(), o.out_at.data(),
                  o.in_second, o.out_second, static_cast<int>(o.in_at.size()), static_cast<int>(o.taps.size()),
                  op.groups, op.in_channels / op.groups, op.out_channels / op.groups, p.tile, op.stride_x / image.step,
                  op.window_height, op.window_width, static_cast<int>(image.row), 0, 0, op.low, op.high};
        if (op.stride_y == op.stride_x && op.stride_x <= 2 && image.step == 1) {
            conv.rows = program_.tensors[index(op.out)].height;
            conv.row_vectors = o.in_second ? 0 : conv.vectors / conv.rows;
        }
        return conv;
    }

    const Engine& engine_;
    const Program& program_;
    const Tensors& tensors_;
};

}  // namespace

std::vector<Step> steps_of(const Engine& engine, const Tensors& tensors, std::int32_t first, std::int32_t count) {
    Builder builder(engine, tensors);
    for (std::int32_t i = first; i < first + count; i++) builder.add(i);
    return std::move(builder.steps);
}

}  // namespace anytimenet
