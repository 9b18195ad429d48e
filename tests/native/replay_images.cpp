// Prepares recorded images: to the last bit as Python did, on every machine.
#include "case.h"
#include "image.h"

int main(int count, char** names) {
    for (int i = 1; i < count; i++) {
        auto bytes = read_file(names[i]);
        RecordedImage own;
        if (!read_image(bytes.data(), bytes.size(), own)) return std::fprintf(stderr, "%s: too short\n", names[i]), 2;
        std::size_t pixels = static_cast<std::size_t>(own.height) * own.width * own.channels;
        std::size_t numbers = static_cast<std::size_t>(own.how.height) * own.how.width * own.how.channels;
        if (own.rest.size() != pixels + 4 * numbers) return std::fprintf(stderr, "%s: cut off\n", names[i]), 2;
        std::vector<unsigned char> image(own.rest.begin(), own.rest.begin() + static_cast<std::ptrdiff_t>(pixels));
        std::vector<float> found(numbers);
        if (anytime_prepare(image.data(), own.height, own.width, own.channels, &own.how, found.data()))
            return std::fprintf(stderr, "%s: refused\n", names[i]), 1;
        if (std::memcmp(found.data(), &own.rest[pixels], 4 * numbers))
            return std::fprintf(stderr, "%s: other numbers than Python's\n", names[i]), 1;
    }
    std::printf("%d images, equal to Python's\n", count - 1);
    return count > 1 ? 0 : 2;
}
