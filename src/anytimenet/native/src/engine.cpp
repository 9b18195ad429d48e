#include "engine.h"

#include "pieces.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <utility>

#if defined(ANYTIME_RED_ZONES)
#include <sanitizer/asan_interface.h>
#endif

namespace anytimenet {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// From one plane to the next: no more than a session may have, which a `long` of 32 bits holds, too.
long apart(std::int64_t floats) { return static_cast<long>(floats); }

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

// Whether two runs of planes have a number in common.
bool overlap(const float* one, std::int64_t one_floats, const float* other, std::int64_t other_floats) {
    std::less<const float*> before_in_memory;
    return before_in_memory(one, other + other_floats) && before_in_memory(other, one + one_floats);
}

// Lets the matrix product before it do what is done to each number of its result; false if it cannot.
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

// Channels of an image that stay in the second cache (half of 512 KB) until the convolution reads them.
constexpr std::int64_t kCachedFloats = 64'000;

// Lets a depthwise convolution follow the product before it channel by channel; false if it cannot.
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

void run_paired(const Kernels& kernels, const Paired& pair) {
    Gemm product = pair.product;
    Conv conv = pair.conv;
    for (int row = 0; row < pair.product.rows; row += pair.rows) {
        product.rows = conv.groups = std::min(pair.rows, pair.product.rows - row);
        kernels.gemm(product), kernels.depthwise(conv);
        product.weight += static_cast<std::int64_t>(pair.rows) * product.columns, product.bias += pair.rows;
        conv.weight += static_cast<std::int64_t>(pair.rows) * conv.tap_count, conv.bias += pair.rows;
        conv.out.data += pair.rows * conv.out.plane;
    }
}

}  // namespace

std::int64_t now() {
#if defined(__wasm__)
    timespec time;  // chrono would bring the words of all system errors with it
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1'000'000'000ll * time.tv_sec + time.tv_nsec;
#else
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
#endif
}

// ---- Engine ----

Engine::Engine(const unsigned char* data, std::size_t size, const std::vector<Shard>& shards, const Kernels& table)
    : own_(std::make_shared<const Program>(read_program(data, size))), program(*own_), plan(plan_memory(program)),
      kernels(table), numbers(program.ops.size()), offsets(program.ops.size()), stages(0),
      head_time(program.table.size()) {
    find_needs();
    add(shards);
}

Engine::Engine(const Engine& before, const std::vector<Shard>& further)
    : own_(before.own_), program(*own_), plan(before.plan), kernels(before.kernels), numbers(before.numbers),
      offsets(before.offsets), stages(before.stages), weight_bytes(before.weight_bytes),
      head_time(program.table.size()), needs_(before.needs_), whole_until_(before.whole_until_),
      memory_(before.memory_), shards_(before.shards_), numbers_left_(before.numbers_left_) {
    for (std::size_t s = 0; s < head_time.size(); s++) head_time[s] = before.head_time[s].load(std::memory_order_relaxed);
    add(further);
}

// Packs what the stages need whose weights are all there now.
void Engine::add(const std::vector<Shard>& further) {
    std::vector<Shard> all;
    for (const auto& kept : shards_) all.push_back(kept ? Shard{kept->data(), kept->size()} : Shard{nullptr, 0});
    for (const Shard& shard : further) {
        all.push_back(shard);
        // A net whose stages share all weights, at its most wasteful.
        numbers_left_ += 64 * (static_cast<std::int64_t>(shard.size) / 4);
    }
    if (all.size() > index(program.shards)) throw Refused("there are more shards than it knows");
    std::vector<Packed> packed(program.ops.size());
    for (std::size_t s = index(stages) + 1; s < program.table.size(); s++) {
        const Stage& stage = program.table[s];
        std::vector<std::int32_t> own;
        bool here = true;
        for (std::int32_t i = 0; i < stage.body_count; i++) own.push_back(stage.body_first + i);
        for (std::int32_t i = 0; i < stage.head_count; i++) own.push_back(stage.head_first + i);
        for (std::int32_t i : own) here = here && has_weights(program, program.ops[index(i)], all.size());
        if (!here) break;
        for (std::int32_t i : own) {
            const Op& op = program.ops[index(i)];
            if (op.weight >= 0 && (numbers_left_ -= program.weights[index(op.weight)].numbers) < 0)
                throw Refused("its weights are much larger than its shards");
            packed[index(i)] = anytimenet::packed(program, op, all, kernels);
            if (plan.image_of[index(i)] >= 0)
                offsets[index(i)] = offsets_for(i);
        }
        stages = static_cast<std::int32_t>(s);
    }
    keep(packed);
    keep_shards(all);
}

Offsets Engine::offsets_for(std::int32_t i) const {
    const Op& op = program.ops[index(i)];
    const Tensor& out = program.tensors[index(op.out)];
    std::int32_t inside = plan.tensors[index(op.out)].image;
    int out_row = inside < 0 ? out.width : static_cast<int>(plan.images[index(inside)].row);
    return offsets_of(op, out, out_row, plan.images[index(plan.image_of[index(i)])], kernels.lanes);
}

// The weights that came one after the other, in the order in which they are read.
void Engine::keep(const std::vector<Packed>& packed) {
    auto rounded = [](std::size_t count) { return (count + kLanes - 1) / kLanes * kLanes; };
    std::size_t total = 0;
    for (const Packed& p : packed) total += rounded(p.weight.size()) + rounded(p.bias.size()) + rounded(p.scale.size());
    memory_.push_back(std::make_shared<const Floats>(zeros(total)));
    float* at = memory_.back()->get();
    auto put = [&](const std::vector<float>& values) -> const float* {
        if (values.empty()) return nullptr;
        std::memcpy(at, values.data(), 4 * values.size());
        return std::exchange(at, at + rounded(values.size()));
    };
    for (std::size_t i = 0; i < packed.size(); i++)
        if (packed[i].weight.size() + packed[i].bias.size() + packed[i].scale.size() > 0)
            numbers[i] = {put(packed[i].weight), put(packed[i].bias), put(packed[i].scale), packed[i].tile};
    weight_bytes += 4 * static_cast<std::int64_t>(total);
}

// Copies of the shards that further stages read, too; of most nets there are none.
void Engine::keep_shards(const std::vector<Shard>& all) {
    std::vector<bool> wanted(index(program.shards));
    for (std::size_t s = index(stages) + 1; s < program.table.size(); s++) {
        const Stage& stage = program.table[s];
        for (auto [first, count] : {std::pair(stage.body_first, stage.body_count),
                                    std::pair(stage.head_first, stage.head_count)})
            for (std::int32_t i = first; i < first + count; i++) mark_shards(program, program.ops[index(i)], wanted);
    }
    for (std::size_t i = 0; i < all.size(); i++) {
        if (i == shards_.size()) shards_.emplace_back();
        if (!wanted[i]) shards_[i].reset();
        else if (!shards_[i])
            shards_[i] = std::make_shared<const std::vector<unsigned char>>(all[i].data, all[i].data + all[i].size);
    }
}

void Engine::find_needs() {
    needs_.resize(program.table.size()), whole_until_.assign(program.table.size(), program.stages);
    for (std::size_t s = 1; s < program.table.size(); s++) {
        const Stage& stage = program.table[s];
        for (std::int32_t i = stage.head_first; i < stage.head_first + stage.head_count; i++) {
            const Op& op = program.ops[index(i)];
            if (op.in >= 0) needs_[s].push_back({op.in, op.in_channel, op.in_channels});
            if (op.other >= 0) needs_[s].push_back({op.other, op.other_channel, op.out_channels});
        }
        // Scratch is written by the head itself, which was checked.
        auto& needs = needs_[s];
        needs.erase(std::remove_if(needs.begin(), needs.end(),
                                   [&](const Need& n) {
                                       Kind kind = program.tensors[index(n.tensor)].kind;
                                       return kind == Kind::scratch || kind == Kind::output;
                                   }),
                    needs.end());
        for (std::size_t later = s + 1; later < program.table.size() && whole_until_[s] == program.stages; later++)
            for (std::int32_t i = 0; i < program.table[later].body_count; i++) {
                const Op& op = program.ops[index(program.table[later].body_first + i)];
                for (const Need& n : needs)
                    if (op.out == n.tensor && op.out_channel < n.first + n.count &&
                        n.first < op.out_channel + op.out_channels)
                        whole_until_[s] = static_cast<std::int32_t>(later) - 1;
                if (whole_until_[s] != program.stages) break;
            }
    }
}

bool Engine::in_state(const Need& need, std::int32_t stage) const {
    const Stage& row = program.table[index(stage)];
    for (std::int32_t i = row.state_first; i < row.state_first + row.state_count; i++)
        if (program.states[index(i)].tensor == need.tensor &&
            need.first + need.count <= program.states[index(i)].channels)
            return true;
    return false;
}

bool Engine::can_answer(std::int32_t stage, std::int32_t reached, std::int32_t begun) const {
    if (stage < 1 || stage > reached || !program.table[index(stage)].answers) return false;
    if (whole_until_[index(stage)] < reached) return false;
    if (stage > begun) return true;
    for (const Need& need : needs_[index(stage)])
        if (!in_state(need, begun)) return false;
    return true;
}

// ---- Session ----

Session::Session(std::shared_ptr<const Engine> engine, bool poison) : engine_(std::move(engine)) {
    const Program& program = engine_->program;
    memory_ = zeros(index(engine_->plan.floats) + kLanes);
    has_output_.resize(program.table.size());
    build_stages();
    for (std::size_t t = 0; poison && t < program.tensors.size(); t++) {
        const Place& place = engine_->plan.tensors[t];
        if (program.tensors[t].flat || place.image >= 0) continue;
        std::int64_t count = place.plane * program.tensors[t].channels;
        for (std::int64_t i = 0; i < count; i++) memory_.get()[place.at + i] = std::numeric_limits<float>::quiet_NaN();
    }
#if defined(ANYTIME_RED_ZONES)
    auto guard = [&](std::int64_t at, std::int64_t floats) {
        std::int64_t end = at + (floats + kLanes - 1) / kLanes * kLanes;
        ASAN_POISON_MEMORY_REGION(memory_.get() + end, 4 * kLanes);
    };
    for (std::size_t t = 0; t < program.tensors.size(); t++)
        guard(engine_->plan.tensors[t].at, engine_->plan.tensors[t].plane * program.tensors[t].channels);
    for (const Image& image : engine_->plan.images) guard(image.at, image.plane * image.channels);
#endif
}

const float* Session::at(std::int32_t tensor, std::int32_t channel) const {
    const Place& place = engine_->plan.tensors[index(tensor)];
    return memory_.get() + place.at + channel * place.plane;
}

Target Session::target(std::int32_t tensor, std::int32_t channel) const {
    const Place& place = engine_->plan.tensors[index(tensor)];
    std::int32_t width = engine_->program.tensors[index(tensor)].width;
    if (place.image < 0) return {memory_.get() + place.at + channel * place.plane, apart(place.plane), width, 0};
    const Image& image = engine_->plan.images[index(place.image)];
    float* first = memory_.get() + image.at + channel * image.plane + image.top * image.row + image.left;
    return {first, apart(image.plane), width, static_cast<int>(image.row)};
}

void Session::follow(std::shared_ptr<const Engine> engine) {
    std::swap(engine_, engine);
    try {
        build_stages();
    } catch (...) {  // no memory: its steps are still those of the engine before
        std::swap(engine_, engine);
        throw;
    }
}

void Session::build_stages() {
    std::vector<Part> bodies(index(engine_->stages) + 1), heads(bodies.size());
    for (std::int32_t s = 1; s <= engine_->stages; s++) {
        const Stage& stage = engine_->program.table[index(s)];
        build(stage.body_first, stage.body_count, bodies[index(s)]);
        build(stage.head_first, stage.head_count, heads[index(s)]);
        for (Part* part : {&bodies[index(s)], &heads[index(s)]}) {
            std::vector<Step> pieces;
            for (const Step& step : part->steps) add_pieces(step, pieces);
            part->steps = std::move(pieces);
        }
    }
    bodies_ = std::move(bodies), heads_ = std::move(heads);
}

void Session::build(std::int32_t first, std::int32_t count, Part& part) {
    const Program& program = engine_->program;
    for (std::int32_t i = first; i < first + count; i++) {
        const Op& op = program.ops[index(i)];
        const Numbers& p = engine_->numbers[index(i)];
        const Tensor& shape = program.tensors[index(op.out)];
        const float* in = op.in >= 0 ? at(op.in, op.in_channel) : nullptr;
        long in_plane = op.in >= 0 ? apart(engine_->plan.tensors[index(op.in)].plane) : 0;
        Target out = target(op.out, op.out_channel);
        int pixels = shape.height * shape.width;
        const float *scale = p.scale, *bias = p.bias;
        bool ends = op.flags & kBlockEnd;
        auto step = [&](auto work) { part.steps.push_back({work, ends}); };
        switch (op.code) {
            case Code::conv: add_conv(op, i, part); break;
            case Code::affine: {
                Affine affine{scale, bias, in, in_plane, out, op.out_channels, pixels, op.low, op.high};
                if (part.steps.empty() || !joined(part.steps.back(), affine)) step(affine);
                break;
            }
            case Code::add:
                step(Add{in, at(op.other, op.other_channel), in_plane, apart(engine_->plan.tensors[index(op.other)].plane),
                         out, op.out_channels, pixels, op.low, op.high});
                break;
            case Code::average_pool:
            case Code::largest_pool: {
                const Tensor& from = program.tensors[index(op.in)];
                step(Pool{in, in_plane, out, op.out_channels, from.height, from.width, shape.height, shape.width,
                          op.window_height, op.window_width, op.stride_y, op.stride_x, op.top, op.left, op.bottom,
                          op.right, op.code == Code::largest_pool, (op.flags & kCountBorder) != 0});
                break;
            }
            case Code::zero: step(Clear{out.data, out.plane * op.out_channels}); break;
            case Code::mean: {
                const Tensor& from = program.tensors[index(op.in)];
                step(Mean{scale, bias, in, in_plane, out.data, op.out_channels, from.height * from.width, op.low, op.high});
                break;
            }
            case Code::linear: {
                int stride = (op.in_channels + kLanes - 1) / kLanes * kLanes;
                step(Linear{p.weight, bias, in, out.data, op.out_channels, op.in_channels, stride, op.low, op.high});
                break;
            }
        }
    }
}

void Session::add_conv(const Op& op, std::int32_t i, Part& part) {
    const Numbers& p = engine_->numbers[index(i)];
    const Tensor& shape = engine_->program.tensors[index(op.out)];
    int group_in = op.in_channels / op.groups, group_out = op.out_channels / op.groups;
    bool ends = op.flags & kBlockEnd;
    const Place& from = engine_->plan.tensors[index(op.in)];
    if (is_product(op)) {
        int tiles = (group_out + p.tile - 1) / p.tile;
        for (std::int32_t g = 0; g < op.groups; g++) {
            bool sums = op.other >= 0;
            part.steps.push_back(
                {Gemm{p.weight + static_cast<std::int64_t>(g) * tiles * p.tile * group_in,
                      p.bias + static_cast<std::int64_t>(g) * tiles * p.tile, at(op.in, op.in_channel + g * group_in),
                      apart(from.plane), sums ? at(op.other, op.other_channel) : nullptr,
                      sums ? apart(engine_->plan.tensors[index(op.other)].plane) : 0,
                      target(op.out, op.out_channel + g * group_out),
                      group_out, group_in, shape.height * shape.width, p.tile, op.low, op.high, nullptr, 0, nullptr, nullptr, 0, 0},
                 ends && g == op.groups - 1});
        }
        return;
    }
    const Image& image = engine_->plan.images[index(engine_->plan.image_of[index(i)])];
    const Offsets& o = engine_->offsets[index(i)];
    float* first = memory_.get() + image.at;
    bool copies = from.image < 0;
    Frame frame{copies ? at(op.in, op.in_channel) : nullptr,
                apart(from.plane),
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
    Conv conv{p.weight, p.bias, first, apart(image.plane), target(op.out, op.out_channel), o.taps.data(),
              o.in_at.data(), o.out_at.data(), o.in_second, o.out_second, static_cast<int>(o.in_at.size()),
              static_cast<int>(o.taps.size()), op.groups, group_in, group_out, p.tile, op.stride_x / image.step,
              op.window_height, op.window_width, static_cast<int>(image.row), 0, 0, op.low, op.high};
    if (op.stride_y == op.stride_x && op.stride_x <= 2 && image.step == 1)
        conv.rows = shape.height, conv.row_vectors = o.in_second ? 0 : conv.vectors / shape.height;
    if (is_depthwise(op) && !copies && paired(part.steps.back(), conv, ends)) return;
    part.steps.push_back({Framed{frame, conv, copies, is_depthwise(op)}, ends});
}

void Session::copy_in(std::int32_t tensor, std::int32_t channels, const float* from) {
    const Tensor& t = engine_->program.tensors[index(tensor)];
    std::size_t pixels = index(t.height) * index(t.width);
    Target to = target(tensor, 0);
    for (std::int32_t c = 0; c < channels; c++)
        std::memcpy(to.data + c * to.plane, from + index(c) * pixels, 4 * pixels);
}

void Session::begin(const float* x) {
    const float* tensors[] = {x};
    stage_ = 0, begun_ = 0;
    cancelled_.store(false, std::memory_order_relaxed);
    has_output_.assign(has_output_.size(), false);
    const Stage& row = engine_->program.table[0];
    for (std::int32_t i = 0; i < row.state_count; i++) {
        const StateTensor& own = engine_->program.states[index(row.state_first + i)];
        copy_in(own.tensor, own.channels, tensors[0]);
    }
}

void Session::restore(std::int32_t stage, const float* const* tensors) {
    const Stage& row = engine_->program.table[index(stage)];
    for (std::int32_t i = 0; i < row.state_count; i++) {
        const StateTensor& own = engine_->program.states[index(row.state_first + i)];
        copy_in(own.tensor, own.channels, tensors[i]);
    }
    stage_ = stage, begun_ = stage;
    cancelled_.store(false, std::memory_order_relaxed);
    has_output_.assign(has_output_.size(), false);
}

std::int64_t Session::read_state(std::int32_t place, float* to) const {
    const Stage& row = engine_->program.table[index(stage_)];
    const StateTensor& own = engine_->program.states[index(row.state_first + place)];
    const Tensor& t = engine_->program.tensors[index(own.tensor)];
    std::size_t pixels = index(t.height) * index(t.width);
    long plane = apart(engine_->plan.tensors[index(own.tensor)].plane);
    for (std::int32_t c = 0; to && c < own.channels; c++)
        std::memcpy(to + index(c) * pixels, at(own.tensor, 0) + c * plane, 4 * pixels);
    return own.channels * static_cast<std::int64_t>(pixels);
}

bool Session::has_output(std::int32_t stage) const {
    return stage >= 1 && index(stage) < has_output_.size() && has_output_[index(stage)];
}

std::int64_t Session::output(std::int32_t stage, float* to) const {
    const Stage& row = engine_->program.table[index(stage)];
    std::int64_t count = 0;
    for (std::int32_t i = 0; i < row.output_count; i++) {
        std::int32_t tensor = engine_->program.outputs[index(row.output_first + i)];
        std::int32_t numbers = engine_->program.tensors[index(tensor)].channels;
        if (to) std::memcpy(to + count, at(tensor, 0), 4 * index(numbers));
        count += numbers;
    }
    return count;
}

bool Session::should_stop() {
    if (polls_left_ == 0 || cancelled_.load(std::memory_order_relaxed)) {
        stopped_ = Stopped::cancelled;
        return true;
    }
    if (polls_left_ > 0) polls_left_--;
    if (deadline_ && stage_ >= least_ && now() + reserve_ >= deadline_) {
        stopped_ = Stopped::deadline;
        return true;
    }
    return false;
}

bool Session::run_part(const Part& part, bool polled) {
    const Kernels& k = engine_->kernels;
    for (const Step& step : part.steps) {
        switch (step.work.index()) {
            case 0: k.gemm(std::get<Gemm>(step.work)); break;
            case 1: {
                const Framed& f = std::get<Framed>(step.work);
                if (f.copies) k.frame(f.frame);
                if (f.depthwise) k.depthwise(f.conv);
                else k.conv(f.conv);
                break;
            }
            case 2: k.affine(std::get<Affine>(step.work)); break;
            case 3: k.add(std::get<Add>(step.work)); break;
            case 4: k.pool(std::get<Pool>(step.work)); break;
            case 5: k.mean(std::get<Mean>(step.work)); break;
            case 6: k.linear(std::get<Linear>(step.work)); break;
            case 8: run_paired(k, std::get<Paired>(step.work)); break;
            default: {
                const Clear& c = std::get<Clear>(step.work);
                std::memset(c.data, 0, 4 * index(c.floats));
            }
        }
        if (polled && step.block_end && should_stop()) return false;
    }
    return true;
}

bool Session::run_head(std::int32_t stage, bool polled) {
    std::int64_t begin = now();
    if (!run_part(heads_[index(stage)], polled)) return false;
    engine_->head_time[index(stage)].store(now() - begin, std::memory_order_relaxed);
    has_output_[index(stage)] = true;
    return true;
}

// The stage whose output stands after a stop; its head runs if it has not: 0 if none can.
std::int32_t Session::answer(const std::int32_t* answers) {
    std::int32_t wanted = answers ? answers[stage_] : stage_;
    if (wanted > stage_) wanted = stage_;
    for (std::int32_t stage : {wanted, stage_}) {
        if (has_output(stage)) return stage;
        if (engine_->can_answer(stage, stage_, begun_)) {
            run_head(stage, false);
            return stage;
        }
    }
    for (std::int32_t stage = stage_; stage > 0; stage--)
        if (has_output(stage)) return stage;
    return 0;
}

Result Session::run(std::int32_t stop, std::int32_t least, std::int64_t deadline, const std::int32_t* answers) {
    least_ = least, deadline_ = deadline, stopped_ = Stopped::no;
    bool whole = true;
    for (std::int32_t s = stage_ + 1; s <= stop && whole; s++) {
        std::int32_t stands = answers && answers[stage_] >= 1 && answers[stage_] <= stage_ ? answers[stage_] : stage_;
        reserve_ = has_output(stands) ? 0 : engine_->head_time[index(stands)].load(std::memory_order_relaxed);
        whole = !should_stop() && run_part(bodies_[index(s)], true);
        if (whole) stage_ = s;
    }
    // A head that can answer at any time is short; others are stopped like everything else.
    if (whole) whole = run_head(stop, !engine_->program.table[index(stop)].answers);
    Result result{stage_, stop, stopped_};
    if (!whole) {
        result.answered = answer(answers);
        cancelled_.store(false, std::memory_order_relaxed), polls_left_ = -1;
    }
    return result;
}

}  // namespace anytimenet
