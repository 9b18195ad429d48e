#include "session.h"

#include <cstring>
#include <utility>

#include "building.h"
#include "clock.h"
#include "index.h"
#include "pieces.h"

namespace anytimenet {

Session::Session(std::shared_ptr<const Engine> engine, bool poison) : engine_(std::move(engine)) {
    memory_ = zeros(index(engine_->plan.floats) + kLanes);
    has_output_.resize(engine_->program.table.size());
    build_stages();
    if (poison) tensors().poison();
    tensors().guard();
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
        bodies[index(s)] = built(stage.body_first, stage.body_count);
        heads[index(s)] = built(stage.head_first, stage.head_count);
    }
    bodies_ = std::move(bodies), heads_ = std::move(heads);
}

Session::Part Session::built(std::int32_t first, std::int32_t count) const {
    Part pieces;
    for (const Step& step : steps_of(*engine_, tensors(), first, count)) add_pieces(step, pieces);
    return pieces;
}

void Session::begin(const float* x) {
    for (std::int32_t i = 0; i < engine_->program.table[0].state_count; i++) copy_in(0, i, x);
    start_at(0);
}

void Session::restore(std::int32_t stage, const float* const* tensors) {
    for (std::int32_t i = 0; i < engine_->program.table[index(stage)].state_count; i++) copy_in(stage, i, tensors[i]);
    start_at(stage);
}

void Session::copy_in(std::int32_t stage, std::int32_t place, const float* from) {
    const Stage& row = engine_->program.table[index(stage)];
    const StateTensor& own = engine_->program.states[index(row.state_first + place)];
    tensors().copy_in(own.tensor, own.channels, from);
}

void Session::start_at(std::int32_t stage) {
    stage_ = stage, begun_ = stage;
    cancelled_.store(false, std::memory_order_relaxed);
    has_output_.assign(has_output_.size(), false);
}

std::int64_t Session::read_state(std::int32_t place, float* to) const {
    const Stage& row = engine_->program.table[index(stage_)];
    const StateTensor& own = engine_->program.states[index(row.state_first + place)];
    return tensors().copy_out(own.tensor, own.channels, to);
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
        if (to) std::memcpy(to + count, tensors().at(tensor, 0), 4 * index(numbers));
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
    for (const Step& step : part) {
        run_step(engine_->kernels, step);
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
