#include "engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "index.h"

namespace anytimenet {

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
                offsets[index(i)] = offsets_of(program, plan, i, kernels.lanes);
        }
        stages = static_cast<std::int32_t>(s);
    }
    keep(packed);
    keep_shards(all);
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

}  // namespace anytimenet
