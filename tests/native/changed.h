// Where there is no libFuzzer: `program SECONDS FILE...` runs the test of one input on given files, changed at random.
#pragma once

#include <chrono>
#include <random>

#include "case.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

// `change(bytes, draw)` makes another input of a file; `what` they are, in the report.
template <class Change>
int run_changed(int count, char** arguments, const char* what, Change change) {
    if (count < 3) return std::fprintf(stderr, "%s SECONDS FILE...\n", arguments[0]), 2;
    std::vector<std::vector<unsigned char>> seeds;
    for (int i = 2; i < count; i++) seeds.push_back(read_file(arguments[i]));
    std::mt19937 draw(1);
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(arguments[1]));
    long tried = 0;
    for (; std::chrono::steady_clock::now() < end; tried++) {
        auto bytes = seeds[draw() % seeds.size()];
        change(bytes, draw);
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%ld changed %s, none of which left its memory\n", tried, what);
    return 0;
}
