// The operators in their order, part after part and stage after stage.
#include <cstring>
#include <utility>
#include <vector>

#include "checks_shared.h"

namespace anytimenet {
namespace {

constexpr std::int32_t kMostStages = 4096;

// Which channels of which tensors hold numbers.
class Channels {
  public:
    explicit Channels(const Program& program) : program_(program) {
        std::size_t all = 0;
        for (const Tensor& tensor : program.tensors) begins_.push_back(all), all += static_cast<std::size_t>(tensor.channels);
        known_.resize(all);
    }
    void add(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        std::memset(at(tensor, first), 1, static_cast<std::size_t>(count));
        touched_.push_back({tensor, first, count});
    }
    bool all(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        return !std::memchr(at(tensor, first), 0, static_cast<std::size_t>(count));
    }
    bool any(std::int32_t tensor, std::int32_t first, std::int32_t count) {
        return std::memchr(at(tensor, first), 1, static_cast<std::size_t>(count));
    }
    void clear() {
        for (const Run& run : touched_) forget(run);
        touched_.clear();
    }
    // Those of tensors whose memory serves others once a part is over.
    void forget_scratch() {
        for (const Run& run : touched_)
            if (program_.tensors[static_cast<std::size_t>(run.tensor)].kind == Kind::scratch) forget(run);
    }

  private:
    struct Run {
        std::int32_t tensor, first, count;
    };
    unsigned char* at(std::int32_t tensor, std::int32_t channel) {
        return known_.data() + begins_[static_cast<std::size_t>(tensor)] + channel;
    }
    void forget(const Run& run) { std::memset(at(run.tensor, run.first), 0, static_cast<std::size_t>(run.count)); }

    const Program& program_;
    std::vector<std::size_t> begins_;  // of each tensor's channels
    std::vector<unsigned char> known_;
    std::vector<Run> touched_;
};

}  // namespace

void check_stages(const Program& program) {
    need(program.stages >= 1 && program.stages <= kMostStages, "there are no stages");
    need(static_cast<std::int64_t>(program.table.size()) == program.stages + 1ll, "a stage has no row");
    Channels before(program), known(program);
    std::vector<unsigned char> used(program.ops.size());
    std::vector<unsigned char> written_output(program.tensors.size());
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
            known.forget_scratch();
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

}  // namespace anytimenet
