// Where the tensors of a program lie in the memory of a session: planned once, when the program is loaded.
#pragma once

#include <cstdint>
#include <vector>

#include "program.h"

namespace anytimenet {

// An image with a border of zeros around it, columns apart by their remainder by the stride of who reads it.
struct Image {
    std::int32_t height, width, top, left, bottom, right, step;
    std::int64_t channels, row, part, plane, at;

    bool same_shape(const Image& other) const {
        return height == other.height && width == other.width && top == other.top && left == other.left &&
               bottom == other.bottom && right == other.right && step == other.step;
    }
};

struct Place {
    std::int64_t at = 0, plane = 0;  // floats
    std::int32_t image = -1;         // it lies inside that image: a convolution reads it from there
};

struct Plan {
    std::vector<Place> tensors;
    std::vector<Image> images;
    std::vector<std::int32_t> image_of;  // for each operator: the image that it reads, or -1
    std::int64_t floats = 0;
};

// Throws Refused if it takes more memory than a session may have.
Plan plan_memory(const Program& program);

}  // namespace anytimenet
