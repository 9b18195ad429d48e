// A recorded image: how it is prepared, its pixels, and what Python made of it. tests/native/record.py writes it.
#pragma once

#include <cstring>
#include <vector>

#include "anytimenet.h"

struct RecordedImage {
    std::int32_t height, width, channels;
    anytime_preprocessing how;
    std::vector<unsigned char> rest;  // pixels and then floats
};

// 8 whole numbers, 6 doubles, and the rest; false if it is too short.
inline bool read_image(const unsigned char* data, std::size_t size, RecordedImage& found) {
    std::int32_t numbers[8];
    if (size < sizeof numbers + 48) return false;
    std::memcpy(numbers, data, sizeof numbers);
    found.height = numbers[0], found.width = numbers[1], found.channels = numbers[2];
    found.how = {numbers[3], numbers[4], numbers[5], numbers[6], numbers[7], 0, {}, {}};
    std::memcpy(found.how.mean, data + sizeof numbers, 24);
    std::memcpy(found.how.std, data + sizeof numbers + 24, 24);
    found.rest.assign(data + sizeof numbers + 48, data + size);
    return true;
}
