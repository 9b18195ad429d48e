#include "checks.h"

#include <cmath>

namespace anytimenet {
namespace {

constexpr std::int64_t kMostNumbers = 1 << 28;  // of one tensor or weight
constexpr std::int64_t kMostOfAll = 1ll << 30;  // of all tensors
constexpr std::int32_t kMostSide = 1 << 15, kMostChannels = 1 << 20, kMostStages = 4096, kMostShards = 4096;

void need(bool holds, const char* what) {
    if (!holds) throw Refused(what);
}

bool inside(std::int32_t first, std::int32_t count, std::size_t whole) {
    return first >= 0 && count >= 0 && static_cast<std::int64_t>(first) + count <= static_cast<std::int64_t>(whole);
}

// Which channels of which tensors hold numbers.
class Channels {
  public:
    explicit Channels(const Program& program) {
        for (const Tensor& tensor : program.tensors) known_.emplace_back(static_cast<std::size_t>(tensor.channels));
    }
    void add(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        for (std::int32_t i = first; i < first + count; i++) mark(tensor, i) = true;
    }
    bool all(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        for (std::int32_t i = first; i < first + count; i++)
            if (!mark(tensor, i)) return false;
        return true;
    }
    bool any(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        for (std::int32_t i = first; i < first + count; i++)
            if (mark(tensor, i)) return true;
        return false;
    }
    void clear() {
        for (auto [tensor, channel] : touched_) known_[tensor][channel] = false;
        touched_.clear();
    }
    // Those of tensors whose memory serves others once a part is over.
    void forget_scratch(const Program& program) {
        for (auto [tensor, channel] : touched_)
            if (program.tensors[tensor].kind == Kind::scratch) known_[tensor][channel] = false;
    }

  private:
    std::vector<bool>::reference mark(std::int32_t tensor, std::int32_t channel) {
        auto t = static_cast<std::size_t>(tensor), c = static_cast<std::size_t>(channel);
        if (!known_[t][c]) touched_.emplace_back(t, c);
        return known_[t][c];
    }
    std::vector<std::vector<bool>> known_;
    std::vector<std::pair<std::size_t, std::size_t>> touched_;
};

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

// The order of things: what a part reads was written, and a stage that is stopped leaves the last state whole.
void check_stages(const Program& program) {
    need(program.stages >= 1 && program.stages <= kMostStages, "there are no stages");
    need(static_cast<std::int64_t>(program.table.size()) == program.stages + 1ll, "a stage has no row");
    Channels before(program), known(program);
    std::vector<bool> used(program.ops.size());
    std::vector<bool> written_output(program.tensors.size());
    for (std::size_t s = 0; s < program.table.size(); s++) {
        const Stage& stage = program.table[s];
        need(inside(stage.body_first, stage.body_count, program.ops.size()) &&
                 inside(stage.head_first, stage.head_count, program.ops.size()) &&
                 inside(stage.state_first, stage.state_count, program.states.size()) &&
                 inside(stage.output_first, stage.output_count, program.outputs.size()),
             "a stage leaves its tables");
        need((stage.answers == 0 || stage.answers == 1) && stage.reserved == 0, "a stage has unknown flags");
        need(s > 0 || (stage.body_count == 0 && stage.head_count == 0 && stage.output_count == 0),
             "the input has operators");
        need(s == 0 || stage.output_count > 0, "a stage has no output");
        for (auto [first, count] : {std::pair(stage.body_first, stage.body_count),
                                    std::pair(stage.head_first, stage.head_count)}) {
            bool head = first == stage.head_first && count == stage.head_count && count > 0;
            for (std::int32_t i = first; i < first + count; i++) {
                auto at = static_cast<std::size_t>(i);
                need(!used[at], "an operator belongs to two parts");
                used[at] = true;
                const Op& op = program.ops[at];
                if (op.in != -1)
                    need(known.all(op.in, op.in_channel, op.in_channels), "something is read that was not written");
                if (op.other != -1)
                    need(known.all(op.other, op.other_channel, op.out_channels),
                         "something is read that was not written");
                need(!before.any(op.out, op.out_channel, op.out_channels), "a state is written over");
                auto out = static_cast<std::size_t>(op.out);
                bool output = program.tensors[out].kind == Kind::output;
                need(!head || program.tensors[out].kind != Kind::kept, "a head writes what is kept");
                need(!output || (head && !written_output[out]), "an output is written by two stages");
                known.add(op.out, op.out_channel, op.out_channels);
            }
            known.forget_scratch(program);
        }
        for (std::int32_t i = 0; i < stage.output_count; i++) {
            std::int32_t tensor = program.outputs[static_cast<std::size_t>(stage.output_first + i)];
            need(tensor >= 0 && tensor < static_cast<std::int64_t>(program.tensors.size()) &&
                     program.tensors[static_cast<std::size_t>(tensor)].kind == Kind::output,
                 "an output is none");
            need(known.all(tensor, 0, program.tensors[static_cast<std::size_t>(tensor)].channels),
                 "an output is not written");
            need(!written_output[static_cast<std::size_t>(tensor)], "an output is written by two stages");
            written_output[static_cast<std::size_t>(tensor)] = true;
        }
        for (std::int32_t i = 0; i < stage.state_count; i++) {
            const StateTensor& own = program.states[static_cast<std::size_t>(stage.state_first + i)];
            need(own.tensor >= 0 && own.tensor < static_cast<std::int64_t>(program.tensors.size()), "a state is no tensor");
            const Tensor& t = program.tensors[static_cast<std::size_t>(own.tensor)];
            need(t.kind == Kind::kept || t.kind == Kind::input, "a state is not kept");
            need(own.channels >= 1 && own.channels <= t.channels, "a state has too many channels");
            need(t.kind != Kind::input || own.channels == t.channels, "a part of the input is no state");
            need(t.kind == Kind::input || known.all(own.tensor, 0, own.channels), "a state is not written");
        }
        // What the next stage finds: the state and nothing else.
        before.clear(), known.clear();
        for (std::int32_t i = 0; i < stage.state_count; i++) {
            const StateTensor& own = program.states[static_cast<std::size_t>(stage.state_first + i)];
            before.add(own.tensor, 0, own.channels), known.add(own.tensor, 0, own.channels);
        }
    }
}

}  // namespace

void check_program(const Program& program) {
    check_tensors(program);
    check_weights(program);
    for (const Op& op : program.ops) OpCheck(program, op).run();
    check_stages(program);
}

}  // namespace anytimenet
