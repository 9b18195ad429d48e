#include "tensors.h"

#include <cstring>
#include <limits>

#include "index.h"

#if defined(ANYTIME_RED_ZONES)
#include <sanitizer/asan_interface.h>
#endif

namespace anytimenet {

const float* Tensors::at(std::int32_t tensor, std::int32_t channel) const {
    const Place& place = plan.tensors[index(tensor)];
    return memory + place.at + channel * place.plane;
}

long Tensors::plane(std::int32_t tensor) const { return apart(plan.tensors[index(tensor)].plane); }

Target Tensors::target(std::int32_t tensor, std::int32_t channel) const {
    const Place& place = plan.tensors[index(tensor)];
    std::int32_t width = program.tensors[index(tensor)].width;
    if (place.image < 0) return {memory + place.at + channel * place.plane, apart(place.plane), width, 0};
    const Image& image = plan.images[index(place.image)];
    float* first = memory + image.at + channel * image.plane + image.top * image.row + image.left;
    return {first, apart(image.plane), width, static_cast<int>(image.row)};
}

void Tensors::copy_in(std::int32_t tensor, std::int32_t channels, const float* from) const {
    const Tensor& t = program.tensors[index(tensor)];
    std::size_t pixels = index(t.height) * index(t.width);
    Target to = target(tensor, 0);
    for (std::int32_t c = 0; c < channels; c++)
        std::memcpy(to.data + c * to.plane, from + index(c) * pixels, 4 * pixels);
}

std::int64_t Tensors::copy_out(std::int32_t tensor, std::int32_t channels, float* to) const {
    const Tensor& t = program.tensors[index(tensor)];
    std::size_t pixels = index(t.height) * index(t.width);
    for (std::int32_t c = 0; to && c < channels; c++)
        std::memcpy(to + index(c) * pixels, at(tensor, 0) + c * plane(tensor), 4 * pixels);
    return channels * static_cast<std::int64_t>(pixels);
}

void Tensors::poison() const {
    for (std::size_t t = 0; t < program.tensors.size(); t++) {
        const Place& place = plan.tensors[t];
        if (program.tensors[t].flat || place.image >= 0) continue;
        std::int64_t count = place.plane * program.tensors[t].channels;
        for (std::int64_t i = 0; i < count; i++) memory[place.at + i] = std::numeric_limits<float>::quiet_NaN();
    }
}

void Tensors::guard() const {
#if defined(ANYTIME_RED_ZONES)
    auto guard = [&](std::int64_t at, std::int64_t floats) {
        std::int64_t end = at + (floats + kLanes - 1) / kLanes * kLanes;
        ASAN_POISON_MEMORY_REGION(memory + end, 4 * kLanes);
    };
    for (std::size_t t = 0; t < program.tensors.size(); t++)
        guard(plan.tensors[t].at, plan.tensors[t].plane * program.tensors[t].channels);
    for (const Image& image : plan.images) guard(image.at, image.plane * image.channels);
#endif
}

}  // namespace anytimenet
