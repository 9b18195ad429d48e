// A run of a program, which is stopped between any two steps and goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine.h"
#include "memory.h"
#include "steps.h"
#include "tensors.h"

namespace anytimenet {

enum class Stopped : std::int32_t { no = 0, cancelled = 1, deadline = 2 };

struct Result {
    std::int32_t stage, answered;
    Stopped stopped;
};

// One run: own memory, one thread at a time; `cancel` may come from any.
class Session {
  public:
    // `poison`: memory that was not written holds NaN, so that whoever reads it is seen.
    Session(std::shared_ptr<const Engine> engine, bool poison);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Goes on with an engine that follows its own; the state stays.
    void follow(std::shared_ptr<const Engine> engine);
    void begin(const float* x);
    // On to stage `stop`. From stage `least` on, a deadline (nanoseconds of the steady clock, 0: none) ends it at
    // the next block. `answers[s]`, if given, is the stage whose output stands when s was the last one finished.
    Result run(std::int32_t stop, std::int32_t least, std::int64_t deadline, const std::int32_t* answers);
    void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
    // Ends the next run after so many looks at the stop flag; for tests. Negative: never.
    void cancel_after(std::int64_t polls) { polls_left_ = polls; }

    std::int32_t stage() const { return stage_; }
    bool has_output(std::int32_t stage) const;
    std::int64_t output(std::int32_t stage, float* to) const;  // numbers of it; `to` may be null
    std::int64_t read_state(std::int32_t tensor, float* to) const;
    void restore(std::int32_t stage, const float* const* tensors);
    std::int64_t bytes() const { return 4 * engine_->plan.floats; }
    const Engine& engine() const { return *engine_; }

  private:
    using Part = std::vector<Step>;
    Tensors tensors() const { return {engine_->program, engine_->plan, memory_.get()}; }
    void build_stages();
    Part built(std::int32_t first, std::int32_t count) const;
    void copy_in(std::int32_t stage, std::int32_t place, const float* from);  // that tensor of the stage's state
    void start_at(std::int32_t stage);
    bool run_part(const Part& part, bool polled);
    bool should_stop();
    bool run_head(std::int32_t stage, bool polled);
    std::int32_t answer(const std::int32_t* answers);

    std::shared_ptr<const Engine> engine_;
    Floats memory_;
    std::vector<Part> bodies_, heads_;
    std::vector<bool> has_output_;
    std::int32_t stage_ = -1, begun_ = 0, least_ = 0;
    std::int64_t deadline_ = 0, reserve_ = 0, polls_left_ = -1;
    Stopped stopped_ = Stopped::no;
    std::atomic<bool> cancelled_{false};
};

}  // namespace anytimenet
