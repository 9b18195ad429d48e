// Loads and runs changed cases; whatever is let in must stay in its memory. Under libFuzzer, or by itself:
// fuzz SECONDS CASE... changes words of the cases at random.
#include <algorithm>
#include <random>

#include "anytimenet.h"
#include "case.h"
#include "changed.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    Case own;
    if (!read_case(data, size, own)) return 0;
    std::vector<const void*> shards;
    std::vector<std::size_t> sizes;
    for (auto& shard : own.shards) shards.push_back(shard.data()), sizes.push_back(shard.size());
    char error[200];
    anytime_engine* engine = anytime_load(own.program.data(), own.program.size(), shards.data(), sizes.data(),
                                          shards.size(), nullptr, error, sizeof error);
    if (shards.size() > 1) {  // and as it is delivered
        std::size_t first = shards.size() / 2;
        anytime_engine* before = anytime_load(own.program.data(), own.program.size(), shards.data(), sizes.data(), first,
                                              nullptr, error, sizeof error);
        anytime_engine* whole = !before ? nullptr
                                        : anytime_extend(before, &shards[first], &sizes[first], shards.size() - first,
                                                         error, sizeof error);
        if (engine && !(whole && anytime_stages(whole) == anytime_stages(engine))) std::abort();
        if (before) anytime_unload(before);
        if (whole) anytime_unload(whole);
    }
    if (!engine) return 0;
    std::int32_t shape[3];
    anytime_input_shape(engine, shape);
    std::size_t numbers = static_cast<std::size_t>(shape[0]) * shape[1] * shape[2];
    anytime_session* session = numbers < (1u << 20) ? anytime_open(engine, 1) : nullptr;
    if (session && anytime_session_bytes(session) < (1 << 26)) {
        std::vector<float> x(numbers, 1.0f);
        anytime_begin(session, x.data());
        anytime_options options{anytime_stages(engine), 0, 0, nullptr};
        anytime_result result;
        anytime_run(session, &options, &result);
    }
    if (session) anytime_close(session);
    anytime_unload(engine);
    return 0;
}

namespace {

// Other words in the program and sometimes in what follows it; now and then the end is missing.
std::size_t change(unsigned char* bytes, std::size_t size, std::mt19937& draw) {
    const std::int32_t odd[] = {-1, 0, 1, 2, 3, 7, 16, 255, 1 << 15, 1 << 20, 1 << 28, 2147483647, -2147483647 - 1};
    if (size < 12) return size;
    std::uint32_t words;
    std::memcpy(&words, bytes, 4);
    words = std::min<std::uint32_t>(words / 4, static_cast<std::uint32_t>(size / 4 - 2));
    for (unsigned changes = 1 + draw() % 3; changes > 0; changes--) {
        std::size_t place = 4 + 4 * (draw() % (draw() % 4 && words ? words : size / 4 - 1));
        std::int32_t word;
        std::memcpy(&word, &bytes[place], 4);
        if (draw() % 2) word = odd[draw() % (sizeof odd / sizeof odd[0])];
        else word = static_cast<std::int32_t>(static_cast<std::uint32_t>(word) + draw() % 9 - 4);
        std::memcpy(&bytes[place], &word, 4);
    }
    return draw() % 16 ? size : draw() % size;
}

}  // namespace

#if defined(HAS_LIBFUZZER)
extern "C" std::size_t LLVMFuzzerMutate(unsigned char* data, std::size_t size, std::size_t most);
extern "C" std::size_t LLVMFuzzerCustomMutator(unsigned char* data, std::size_t size, std::size_t most, unsigned seed) {
    std::mt19937 draw(seed);
    return draw() % 8 ? change(data, size, draw) : LLVMFuzzerMutate(data, size, most);
}
#else
int main(int count, char** arguments) {
    return run_changed(count, arguments, "cases", [](std::vector<unsigned char>& bytes, std::mt19937& draw) {
        bytes.resize(change(bytes.data(), bytes.size(), draw));
    });
}
#endif
