// A loaded program.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "offsets.h"
#include "packing.h"
#include "plan.h"
#include "program.h"

namespace anytimenet {

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
    void find_needs();
    bool in_state(const Need& need, std::int32_t stage) const;
    std::vector<std::vector<Need>> needs_;       // of each head
    std::vector<std::int32_t> whole_until_;      // the last stage at which they are unchanged
    std::vector<std::shared_ptr<const Floats>> memory_;  // one block of weights for each time that shards came
    // Shards that came; null where no stage that is not there yet reads them.
    std::vector<std::shared_ptr<const std::vector<unsigned char>>> shards_;
    std::int64_t numbers_left_ = 1 << 16;  // that weights may have, so that they are not much larger than shards
};

}  // namespace anytimenet
