// Each operator by itself: its tensors, windows, groups and weights.
#include <cmath>

#include "checks_shared.h"

namespace anytimenet {
namespace {

class OpCheck {
  public:
    OpCheck(const Program& program, const Op& op) : program_(program), op_(op) {}

    void run() {
        auto code = static_cast<std::int32_t>(op_.code);
        need(code >= 1 && code <= 8, "an operator is unknown");
        need((op_.flags & ~(kBlockEnd | kCountBorder)) == 0, "an operator has unknown flags");
        need(!std::isnan(op_.low) && !std::isnan(op_.high) && op_.low <= op_.high, "an operator has no usable bounds");
        for (std::int32_t word : op_.reserved) need(word == 0, "a reserved word is not 0");
        const Tensor& out = tensor(op_.out, op_.out_channel, op_.out_channels);
        need(out.kind != Kind::input, "the input is written");
        if (op_.code == Code::zero) {
            need(op_.in == -1 && op_.other == -1 && !out.flat, "an operator that fills reads something");
            return no_weights();
        }
        const Tensor& in = tensor(op_.in, op_.in_channel, op_.in_channels);
        need(in.kind != Kind::output, "an output is read");
        need((op_.other == -1) == !(op_.code == Code::add || (op_.code == Code::conv && op_.other != -1)),
             "a sum has one term");
        bool apart = op_.in != op_.out || op_.in_channel + op_.in_channels <= op_.out_channel ||
                     op_.out_channel + op_.out_channels <= op_.in_channel;
        bool same = op_.in == op_.out && op_.in_channel == op_.out_channel;
        switch (op_.code) {
            case Code::conv: return conv(in, out, apart);
            case Code::affine:
                need(!in.flat && !out.flat && (apart || same), "an operator reads what it writes");
                same_size(in, out), no_windows(), norm();
                need(op_.weight == -1 && op_.bias == -1, "an operator has a weight too many");
                return;
            case Code::add: {
                const Tensor& other = tensor(op_.other, op_.other_channel, op_.out_channels);
                need(!in.flat && !out.flat && !other.flat, "a sum of vectors");
                need(other.kind != Kind::output, "an output is read");
                need((apart || same), "an operator reads what it writes");
                need(op_.other != op_.out || op_.other_channel == op_.out_channel ||
                         op_.other_channel + op_.out_channels <= op_.out_channel ||
                         op_.out_channel + op_.out_channels <= op_.other_channel,
                     "an operator reads what it writes");
                same_size(in, out), same_pixels(other, out), no_windows();
                return no_weights();
            }
            case Code::average_pool:
            case Code::largest_pool:
                need(!in.flat && !out.flat && apart, "an operator reads what it writes");
                need(op_.in_channels == op_.out_channels, "an operator changes the number of channels");
                windows(in, out, true);
                return no_weights();
            case Code::mean:
                need(!in.flat && out.flat && op_.in_channels == op_.out_channels, "a mean does not fit");
                no_windows(), norm();
                need(op_.weight == -1 && op_.bias == -1, "an operator has a weight too many");
                return;
            default:
                need(in.flat && out.flat && op_.in != op_.out, "a linear layer does not fit");
                need(op_.in_channel == 0 && op_.in_channels == in.channels, "a linear layer reads a part");
                no_windows();
                numbers(op_.weight, static_cast<std::int64_t>(op_.in_channels) * op_.out_channels, false);
                numbers(op_.bias, op_.out_channels, true);
                need(op_.gamma == -1 && op_.beta == -1 && op_.mean == -1 && op_.variance == -1,
                     "an operator has a weight too many");
        }
    }

  private:
    void conv(const Tensor& in, const Tensor& out, bool apart) {
        need(!in.flat && !out.flat && apart, "an operator reads what it writes");
        need(op_.groups >= 1 && op_.in_channels % op_.groups == 0 && op_.out_channels % op_.groups == 0,
             "groups do not divide the channels");
        windows(in, out, false);
        numbers(op_.weight,
                static_cast<std::int64_t>(op_.in_channels / op_.groups) * op_.out_channels *
                    (static_cast<std::int64_t>(op_.window_height) * op_.window_width),
                false);
        numbers(op_.bias, op_.out_channels, true);
        norm();
        if (op_.other == -1) return;
        const Tensor& other = tensor(op_.other, op_.other_channel, op_.out_channels);
        need(!other.flat && other.kind != Kind::output, "a sum of vectors");
        same_pixels(other, out);
        need(op_.groups == 1 && op_.window_height == 1 && op_.window_width == 1 && op_.stride_y == 1 &&
                 op_.stride_x == 1 && !op_.top && !op_.left && !op_.bottom && !op_.right,
             "only a 1x1 convolution adds");
        need(op_.other != op_.out || op_.other_channel == op_.out_channel ||
                 op_.other_channel + op_.out_channels <= op_.out_channel ||
                 op_.out_channel + op_.out_channels <= op_.other_channel,
             "an operator reads what it writes");
    }

    const Tensor& tensor(std::int32_t index, std::int32_t first, std::int32_t count) const {
        need(index >= 0 && index < static_cast<std::int64_t>(program_.tensors.size()), "a tensor does not exist");
        const Tensor& found = program_.tensors[static_cast<std::size_t>(index)];
        need(count >= 1 && inside(first, count, static_cast<std::size_t>(found.channels)), "channels do not exist");
        return found;
    }

    static void same_pixels(const Tensor& one, const Tensor& other) {
        need(one.height == other.height && one.width == other.width, "sizes do not fit");
    }

    void same_size(const Tensor& in, const Tensor& out) const {
        same_pixels(in, out);
        need(op_.in_channels == op_.out_channels, "an operator changes the number of channels");
    }

    void windows(const Tensor& in, const Tensor& out, bool ragged) const {
        for (std::int32_t v : {op_.window_height, op_.window_width, op_.stride_y, op_.stride_x})
            need(v >= 1 && v <= 1024, "a window has no usable size");
        for (std::int32_t v : {op_.top, op_.left, op_.bottom, op_.right})
            need(v >= 0 && v <= 1024, "a border has no usable size");
        side(in.height, out.height, op_.window_height, op_.stride_y, op_.top, op_.bottom, ragged);
        side(in.width, out.width, op_.window_width, op_.stride_x, op_.left, op_.right, ragged);
    }

    // `ragged`: the last window may reach over the border, and then begins inside.
    static void side(std::int32_t in, std::int32_t out, std::int32_t window, std::int32_t stride,
                     std::int32_t before, std::int32_t after, bool ragged) {
        std::int32_t whole = in + before + after;
        need(whole >= window, "a window is larger than its image");
        std::int32_t least = (whole - window) / stride + 1;
        bool more = ragged && out == least + 1 && (out - 1) * stride < in + before;
        need(out == least || more, "sizes do not fit");
        need(!ragged || (before < window && after < window), "a window lies in the border");
    }

    void no_windows() const {
        for (std::int32_t v : {op_.window_height, op_.window_width, op_.stride_y, op_.stride_x, op_.top, op_.left,
                               op_.bottom, op_.right, op_.groups})
            need(v == 0, "an operator has a window");
    }

    void no_weights() const {
        for (std::int32_t v : {op_.weight, op_.bias, op_.gamma, op_.beta, op_.mean, op_.variance})
            need(v == -1, "an operator has a weight too many");
    }

    void norm() const {
        std::int64_t least = static_cast<std::int64_t>(op_.norm_channel) + op_.out_channels;
        need(op_.norm_channel >= 0, "a normalisation has no channels");
        for (std::int32_t v : {op_.gamma, op_.beta, op_.mean, op_.variance}) {
            if (v == -1) continue;
            need(exists(v), "a weight does not exist");
            need(program_.weights[static_cast<std::size_t>(v)].numbers >= least, "a normalisation has too few channels");
        }
        need((op_.mean == -1) == (op_.variance == -1), "a normalisation has half of its statistics");
        need(op_.mean != -1 || (op_.gamma == -1 && op_.beta == -1), "a normalisation has no statistics");
        need(std::isfinite(op_.epsilon) && op_.epsilon >= 0, "a normalisation has no usable epsilon");
    }

    bool exists(std::int32_t weight) const {
        return weight >= 0 && weight < static_cast<std::int64_t>(program_.weights.size());
    }

    void numbers(std::int32_t weight, std::int64_t wanted, bool optional) const {
        if (optional && weight == -1) return;
        need(exists(weight), "a weight does not exist");
        need(program_.weights[static_cast<std::size_t>(weight)].numbers == wanted, "a weight has another size");
    }

    const Program& program_;
    const Op& op_;
};

}  // namespace

void check_op(const Program& program, const Op& op) { OpCheck(program, op).run(); }

}  // namespace anytimenet
