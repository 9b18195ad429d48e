// The C interface; no exception leaves it.
#include "../include/anytimenet.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "clock.h"
#include "session.h"

using namespace anytimenet;

struct anytime_engine {
    std::shared_ptr<const Engine> engine;
};

struct anytime_session {
    anytime_session(std::shared_ptr<const Engine> engine, bool poison) : session(std::move(engine), poison) {}
    Session session;
};

namespace {

#if defined(__x86_64__) || defined(__i386__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#else
bool has_avx2() { return false; }
bool has_avx512() { return false; }
#endif

// The kernels of that name that this machine can run, or the best for no name; null if there are none.
const Kernels* chosen(const char* name) {
    const Kernels* known[] = {has_avx512() ? avx512_kernels() : nullptr, has_avx2() ? avx2_kernels() : nullptr,
                              portable_kernels()};
    for (const Kernels* kernels : known)
        if (kernels && (!name || !*name || !std::strcmp(name, kernels->name))) return kernels;
    return nullptr;
}

bool is_stage(const Engine& engine, std::int32_t stage) { return stage >= 1 && stage <= engine.stages; }

void tell(char* to, std::size_t bytes, const char* what) {
    if (!to || !bytes) return;
    std::strncpy(to, what, bytes - 1);
    to[bytes - 1] = 0;
}

std::vector<Shard> given(const void* const* shards, const size_t* bytes, size_t count) {
    std::vector<Shard> found;
    for (size_t i = 0; i < count; i++) found.push_back({static_cast<const unsigned char*>(shards[i]), bytes[i]});
    return found;
}

// What `make` makes; null, and in `error` why not.
template <class Make>
anytime_engine* loaded(char* error, std::size_t error_bytes, Make make) {
    try {
        return new anytime_engine{make()};
    } catch (const std::bad_alloc&) {
        tell(error, error_bytes, "there is not enough memory");
    } catch (const std::exception& caught) {
        tell(error, error_bytes, caught.what());
    }
    return nullptr;
}

}  // namespace

extern "C" {

#ifndef ANYTIME_DIGEST
#define ANYTIME_DIGEST ""
#endif
const char* anytime_digest(void) { return ANYTIME_DIGEST; }

const char* anytime_instruction_sets(void) {
    static const std::string names = [] {
        std::string all;
        for (const Kernels* k : {has_avx512() ? avx512_kernels() : nullptr, has_avx2() ? avx2_kernels() : nullptr,
                                 portable_kernels()})
            if (k) all += (all.empty() ? "" : ",") + std::string(k->name);
        return all;
    }();
    return names.c_str();
}

int64_t anytime_now(void) { return now(); }

double anytime_multiply(const char* instruction_set, int64_t rounds) {
    const Kernels* kernels = chosen(instruction_set);
    return kernels ? kernels->multiply(static_cast<long>(rounds)) : 0;
}

anytime_engine* anytime_load(const void* program, size_t program_bytes, const void* const* shards,
                             const size_t* shard_bytes, size_t shard_count, const char* instruction_set, char* error,
                             size_t error_bytes) {
    return loaded(error, error_bytes, [&] {
        const Kernels* kernels = chosen(instruction_set);
        if (!kernels) throw Refused("this machine has no such instruction set");
        return std::make_shared<const Engine>(static_cast<const unsigned char*>(program), program_bytes,
                                              given(shards, shard_bytes, shard_count), *kernels);
    });
}

anytime_engine* anytime_extend(const anytime_engine* engine, const void* const* shards, const size_t* shard_bytes,
                               size_t shard_count, char* error, size_t error_bytes) {
    return loaded(error, error_bytes, [&] {
        return std::make_shared<const Engine>(*engine->engine, given(shards, shard_bytes, shard_count));
    });
}

void anytime_unload(anytime_engine* engine) { delete engine; }
int32_t anytime_stages(const anytime_engine* engine) { return engine->engine->stages; }
int64_t anytime_weight_bytes(const anytime_engine* engine) { return engine->engine->weight_bytes; }
const char* anytime_instruction_set(const anytime_engine* engine) { return engine->engine->kernels.name; }

void anytime_input_shape(const anytime_engine* engine, int32_t shape[3]) {
    for (const Tensor& t : engine->engine->program.tensors)
        if (t.kind == Kind::input) shape[0] = t.channels, shape[1] = t.height, shape[2] = t.width;
}

anytime_session* anytime_open(const anytime_engine* engine, int32_t poison) {
    try {
        return new anytime_session(engine->engine, poison != 0);
    } catch (const std::exception&) {
        return nullptr;
    }
}

int32_t anytime_follow(anytime_session* session, const anytime_engine* engine) {
    if (!engine->engine->follows(session->session.engine())) return -1;
    try {
        session->session.follow(engine->engine);
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}

void anytime_close(anytime_session* session) { delete session; }
int64_t anytime_session_bytes(const anytime_session* session) { return session->session.bytes(); }

int32_t anytime_begin(anytime_session* session, const float* x) {
    session->session.begin(x);
    return 0;
}

int32_t anytime_run(anytime_session* session, const anytime_options* options, anytime_result* result) {
    Session& own = session->session;
    if (own.stage() < 0 || !is_stage(own.engine(), options->stop) || options->stop <= own.stage()) return -1;
    Result found = own.run(options->stop, options->least, options->deadline_ns, options->answers);
    *result = {found.stage, found.answered, static_cast<int32_t>(found.stopped)};
    return 0;
}

void anytime_cancel(anytime_session* session) { session->session.cancel(); }
void anytime_cancel_after(anytime_session* session, int64_t polls) { session->session.cancel_after(polls); }
int32_t anytime_stage(const anytime_session* session) { return session->session.stage(); }

int64_t anytime_output(const anytime_session* session, int32_t stage, float* to) {
    const Session& own = session->session;
    if (!is_stage(own.engine(), stage) || (to && !own.has_output(stage))) return -1;
    return own.output(stage, to);
}

int32_t anytime_state_tensors(const anytime_engine* engine, int32_t stage) {
    if (stage != 0 && !is_stage(*engine->engine, stage)) return -1;
    return engine->engine->program.table[static_cast<std::size_t>(stage)].state_count;
}

int64_t anytime_read_state(const anytime_session* session, int32_t tensor, float* to) {
    const Session& own = session->session;
    if (own.stage() < 0) return -1;
    const Stage& row = own.engine().program.table[static_cast<std::size_t>(own.stage())];
    if (tensor < 0 || tensor >= row.state_count) return -1;
    return own.read_state(tensor, to);
}

int32_t anytime_restore(anytime_session* session, int32_t stage, const float* const* tensors) {
    if (stage != 0 && !is_stage(session->session.engine(), stage)) return -1;
    session->session.restore(stage, tensors);
    return 0;
}

}  // extern "C"
