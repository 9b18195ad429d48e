// Replays recorded cases on each instruction set: every step, every jump, stopped anywhere, restored, in several
// threads at a time with others cancelling, and while shard after shard comes. Prints what is wrong and returns 1.
#include <cmath>
#include <thread>

#include "anytimenet.h"
#include "case.h"

namespace {

void need(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "wrong: %s\n", what);
    std::exit(1);
}

using Outputs = std::vector<std::vector<float>>;

std::vector<float> output(const anytime_session* session, int stage) {
    std::vector<float> found(static_cast<std::size_t>(anytime_output(session, stage, nullptr)));
    need(anytime_output(session, stage, found.data()) >= 0, "a stage has no output");
    return found;
}

anytime_result run(anytime_session* session, int stop) {
    anytime_options options{stop, 0, 0, nullptr};
    anytime_result result;
    need(anytime_run(session, &options, &result) == 0, "a run is refused");
    return result;
}

// The state, copied out and put into another session.
void pass_on(const anytime_engine* engine, const anytime_session* from, anytime_session* to, int stage) {
    std::vector<std::vector<float>> tensors;
    std::vector<const float*> pointers;
    for (int i = 0; i < anytime_state_tensors(engine, stage); i++) {
        tensors.emplace_back(static_cast<std::size_t>(anytime_read_state(from, i, nullptr)));
        anytime_read_state(from, i, tensors.back().data());
    }
    for (auto& tensor : tensors) pointers.push_back(tensor.data());
    need(anytime_restore(to, stage, pointers.data()) == 0, "a state is refused");
}

Outputs steps(anytime_session* session, const Case& own, int stages) {
    Outputs found;
    anytime_begin(session, own.x.data());
    for (int stage = 1; stage <= stages; stage++) {
        need(run(session, stage).answered == stage, "a step does not answer");
        found.push_back(output(session, stage));
    }
    return found;
}

void check_values(const Case& own, const Outputs& found) {
    for (std::size_t stage = 0; stage < own.outputs.size(); stage++) {
        float largest = 0, gap = 0;
        need(own.outputs[stage].size() == found[stage].size(), "an output has another size");
        for (std::size_t i = 0; i < found[stage].size(); i++) {
            largest = std::fmax(largest, std::fabs(own.outputs[stage][i]));
            gap = std::fmax(gap, std::fabs(own.outputs[stage][i] - found[stage][i]));
        }
        need(gap <= 1e-4f * largest, "an output is not PyTorch's");
    }
}

void check_paths(const anytime_engine* engine, const Case& own, const Outputs& wanted, int stages) {
    anytime_session *session = anytime_open(engine, 1), *other = anytime_open(engine, 1);
    for (int middle = 0; middle < stages; middle++) {
        anytime_begin(session, own.x.data());
        if (middle) run(session, middle);
        run(session, stages);
        need(output(session, stages) == wanted.back(), "a jump gives other numbers");
    }
    for (int polls = 0;; polls++) {
        anytime_begin(session, own.x.data());
        anytime_cancel_after(session, polls);
        anytime_result result = run(session, stages);
        if (result.answered)
            need(output(session, result.answered) == wanted[static_cast<std::size_t>(result.answered) - 1],
                 "a stopped run gives other numbers");
        if (result.stopped == ANYTIME_WHOLE) break;
        if (result.stage == stages) continue;
        pass_on(engine, session, other, result.stage);
        run(other, stages), run(session, stages);
        need(output(other, stages) == wanted.back() && output(session, stages) == wanted.back(),
             "a run that goes on gives other numbers");
    }
    anytime_close(session), anytime_close(other);
}

void check_threads(const anytime_engine* engine, const Case& own, const Outputs& wanted, int stages) {
    std::vector<std::thread> threads;
    for (int number = 0; number < 3; number++)
        threads.emplace_back([&, number] {
            anytime_session* session = anytime_open(engine, 0);
            std::thread cancels([&] {
                for (int i = 0; number && i < 50; i++) anytime_cancel(session), std::this_thread::yield();
            });
            for (int repeat = 0; repeat < 5; repeat++) {
                anytime_begin(session, own.x.data());
                anytime_result result = run(session, stages);
                if (result.answered)
                    need(output(session, result.answered) == wanted[static_cast<std::size_t>(result.answered) - 1],
                         "a run among others gives other numbers");
            }
            cancels.join();
            anytime_close(session);
        });
    for (auto& thread : threads) thread.join();
}

// Shard after shard, while another thread goes on running with what came before; a session follows.
void check_delivery(const Case& own, const char* set, const Outputs& wanted) {
    char error[200] = "";
    anytime_engine* engine = anytime_load(own.program.data(), own.program.size(), nullptr, nullptr, 0, set, error,
                                          sizeof error);
    need(engine, error);
    anytime_session* session = anytime_open(engine, 1);
    anytime_begin(session, own.x.data());
    int reached = 0;
    for (auto& shard : own.shards) {
        int there = anytime_stages(engine);
        std::thread other([&, engine] {
            anytime_session* apart = anytime_open(engine, 1);
            anytime_begin(apart, own.x.data());
            if (there) {
                run(apart, there);
                need(output(apart, there) == wanted[static_cast<std::size_t>(there) - 1],
                     "an engine that is extended gives other numbers");
            }
            anytime_close(apart);
        });
        const void* data = shard.data();
        std::size_t size = shard.size();
        anytime_engine* next = anytime_extend(engine, &data, &size, 1, error, sizeof error);
        other.join();
        need(next, error);
        need(anytime_follow(session, next) == 0, "a session does not follow");
        anytime_unload(engine);
        engine = next;
        for (; reached < anytime_stages(engine); reached++) {
            run(session, reached + 1);
            need(output(session, reached + 1) == wanted[static_cast<std::size_t>(reached)],
                 "a session that follows gives other numbers");
        }
    }
    need(reached == static_cast<int>(wanted.size()), "stages are missing when all shards are there");
    anytime_close(session), anytime_unload(engine);
}

void replay(const char* name) {
    Case own;
    auto bytes = read_file(name);
    need(read_case(bytes.data(), bytes.size(), own), "a case cannot be read");
    std::vector<const void*> shards;
    std::vector<std::size_t> sizes;
    for (auto& shard : own.shards) shards.push_back(shard.data()), sizes.push_back(shard.size());
    std::string sets = std::string(anytime_instruction_sets()) + ",";
    for (std::size_t begin = 0, end; (end = sets.find(',', begin)) != std::string::npos; begin = end + 1) {
        std::string set = sets.substr(begin, end - begin);
        char error[200] = "";
        anytime_engine* engine = anytime_load(own.program.data(), own.program.size(), shards.data(), sizes.data(),
                                              shards.size(), set.c_str(), error, sizeof error);
        if (!engine) std::fprintf(stderr, "%s: %s\n", name, error), std::exit(1);
        int stages = anytime_stages(engine);
        anytime_session* session = anytime_open(engine, 1);
        Outputs found = steps(session, own, stages);
        anytime_close(session);
        check_values(own, found);
        check_paths(engine, own, found, stages);
        check_threads(engine, own, found, stages);
        check_delivery(own, set.c_str(), found);
        anytime_unload(engine);
        std::printf("%s %s: %d stages\n", name, set.c_str(), stages);
    }
}

}  // namespace

int main(int count, char** names) {
    need(count > 1, "give recorded cases");
    for (int i = 1; i < count; i++) replay(names[i]);
}
