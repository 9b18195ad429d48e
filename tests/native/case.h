// A recorded case: a program, its shards, an input, and what PyTorch answered. tests/native/record.py writes it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct Case {
    std::vector<unsigned char> program;
    std::vector<std::vector<unsigned char>> shards;
    std::vector<float> x;
    std::vector<std::vector<float>> outputs;  // of stages 1..K; empty where nothing was recorded
};

inline std::vector<unsigned char> read_file(const char* name) {
    std::FILE* file = std::fopen(name, "rb");
    if (!file) std::fprintf(stderr, "%s cannot be opened\n", name), std::exit(2);
    std::vector<unsigned char> bytes;
    unsigned char block[4096];
    for (std::size_t count; (count = std::fread(block, 1, sizeof block, file)) > 0;)
        bytes.insert(bytes.end(), block, block + count);
    std::fclose(file);
    return bytes;
}

// Lengths before contents, as 32-bit numbers; false if it does not fit.
inline bool read_case(const unsigned char* data, std::size_t size, Case& found) {
    std::size_t at = 0;
    auto number = [&](std::uint32_t& value) {
        if (size - at < 4) return false;
        std::memcpy(&value, data + at, 4), at += 4;
        return true;
    };
    auto bytes = [&](std::vector<unsigned char>& to) {
        std::uint32_t count;
        if (!number(count) || size - at < count) return false;
        to.assign(data + at, data + at + count), at += count;
        return true;
    };
    auto floats = [&](std::vector<float>& to) {
        std::vector<unsigned char> raw;
        if (!bytes(raw)) return false;
        to.resize(raw.size() / 4);
        if (!to.empty()) std::memcpy(to.data(), raw.data(), 4 * to.size());
        return true;
    };
    std::uint32_t shards, stages;
    if (!bytes(found.program) || !number(shards) || shards > 64) return false;
    found.shards.resize(shards);
    for (auto& shard : found.shards)
        if (!bytes(shard)) return false;
    if (!floats(found.x) || !number(stages) || stages > 64) return false;
    found.outputs.resize(stages);
    for (auto& output : found.outputs)
        if (!floats(output)) return false;
    return true;
}
