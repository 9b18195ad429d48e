// A loaded program, and sessions that run it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "packing.h"
#include "plan.h"
#include "program.h"

namespace anytimenet {

// Offsets that a convolution reads and writes by; see `Conv`.
struct Offsets {
    std::vector<int> taps, in_at, out_at;
    int in_second = 0, out_second = 0;
};

// The numbers of an operator, in the engine's memory; see `Packed`.
struct Numbers {
    const float *weight = nullptr, *bias = nullptr, *scale = nullptr;
    int tile = 0;
};

// A program with the weights of its first stages: read only, and shared by all sessions.
class Engine {
    std::shared_ptr<const Program> own_;

  public:
    Engine(const unsigned char* program, std::size_t size, const std::vector<Shard>& shards, const Kernels& kernels);
    // The same with further shards; the weights of the stages that `before` has are shared with it.
    Engine(const Engine& before, const std::vector<Shard>& further);
    Engine& operator=(const Engine&) = delete;

    const Program& program;
    Plan plan;
    const Kernels& kernels;
    std::vector<Numbers> numbers;  // of each operator
    std::vector<Offsets> offsets;
    std::int32_t stages;  // whose weights are there
    std::int64_t weight_bytes = 0;
    // Nanoseconds that the head of a stage took last; what is kept free before a deadline.
    mutable std::vector<std::atomic<std::int64_t>> head_time;

    // Whether this is `before` or was extended from it.
    bool follows(const Engine& before) const { return own_ == before.own_ && stages >= before.stages; }
    // Whether the head of `stage` can run when `reached` is finished, of a session that began at `begun`.
    bool can_answer(std::int32_t stage, std::int32_t reached, std::int32_t begun) const;

  private:
    struct Need {
        std::int32_t tensor, first, count;
    };
    void add(const std::vector<Shard>& further);
    void keep(const std::vector<Packed>& packed);
    void keep_shards(const std::vector<Shard>& all);
    Offsets offsets_for(std::int32_t op) const;
    void find_needs();
    bool in_state(const Need& need, std::int32_t stage) const;
    std::vector<std::vector<Need>> needs_;       // of each head
    std::vector<std::int32_t> whole_until_;      // the last stage at which they are unchanged
    std::vector<std::shared_ptr<const Floats>> memory_;  // one block of weights for each time that shards came
    // Shards that came; null where no stage that is not there yet reads them.
    std::vector<std::shared_ptr<const std::vector<unsigned char>>> shards_;
    std::int64_t numbers_left_ = 1 << 16;  // that weights may have, so that they are not much larger than shards
};

struct Clear {
    float* data;
    std::int64_t floats;
};

struct Framed {
    Frame frame;
    Conv conv;
    bool copies, depthwise;
};

// A product whose rows a depthwise convolution reads, some channels at a time, so that they stay in the cache.
struct Paired {
    Gemm product;
    Conv conv;
    int rows;  // at a time
};

struct Step {
    std::variant<Gemm, Framed, Affine, Add, Pool, Mean, Linear, Clear, Paired> work;
    bool block_end;
};

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
    struct Part {
        std::vector<Step> steps;
    };
    void build_stages();
    void build(std::int32_t first, std::int32_t count, Part& part);
    void add_conv(const Op& op, std::int32_t index, Part& part);
    bool run_part(const Part& part, bool polled);
    bool should_stop();
    bool run_head(std::int32_t stage, bool polled);
    std::int32_t answer(const std::int32_t* answers);
    const float* at(std::int32_t tensor, std::int32_t channel) const;
    Target target(std::int32_t tensor, std::int32_t channel) const;
    void copy_in(std::int32_t tensor, std::int32_t channels, const float* from);

    std::shared_ptr<const Engine> engine_;
    Floats memory_;
    std::vector<Part> bodies_, heads_;
    std::vector<bool> has_output_;
    std::int32_t stage_ = -1, begun_ = 0, least_ = 0;
    std::int64_t deadline_ = 0, reserve_ = 0, polls_left_ = -1;
    Stopped stopped_ = Stopped::no;
    std::atomic<bool> cancelled_{false};
};

std::int64_t now();  // nanoseconds of the steady clock

}  // namespace anytimenet
