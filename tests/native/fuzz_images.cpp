// Prepares changed images: what is refused writes nothing, and what is not gives finite numbers. Under libFuzzer, or by
// itself: fuzz_images SECONDS IMAGE... changes recorded images at random.
#include <cmath>

#include "changed.h"
#include "image.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    RecordedImage own;
    if (!read_image(data, size, own)) return 0;
    const anytime_preprocessing& how = own.how;
    double numbers = 1.0 * how.height * how.width * how.channels, pixels = 1.0 * own.height * own.width * own.channels;
    bool sound = how.height > 0 && how.width > 0 && how.channels > 0 && numbers <= 1 << 20;
    bool given = own.height > 0 && own.width > 0 && own.channels > 0 && pixels <= 1 << 22;
    bool meant = own.height > 0 && own.width > 0 && 1.0 * own.height * own.width <= ANYTIME_MOST_PIXELS;
    // Too large to be made here, and not so large that it is refused before it is looked at.
    if ((!given && meant && own.channels > 0) || (!sound && numbers > 0)) return 0;
    if (how.shorter_side > 4096) return 0;  // slow, no more
    std::vector<unsigned char> image(given ? static_cast<std::size_t>(pixels) : 1);
    for (std::size_t i = 0; i < image.size(); i++) image[i] = own.rest.empty() ? 0 : own.rest[i % own.rest.size()];
    std::vector<float> to(sound ? static_cast<std::size_t>(numbers) : 1, NAN);
    std::int32_t code = anytime_prepare(image.data(), own.height, own.width, own.channels, &how, to.data());
    if (code == 0 && !(given && sound)) std::abort();
    if (code > 0 || code < ANYTIME_NO_MEMORY) std::abort();
    for (float value : to)
        if (code == 0 ? !std::isfinite(value) : !std::isnan(value)) std::abort();
    return 0;
}

#if !defined(HAS_LIBFUZZER)
int main(int count, char** arguments) {
    return run_changed(count, arguments, "images", [](std::vector<unsigned char>& bytes, std::mt19937& draw) {
        for (unsigned changes = 1 + draw() % 4; changes > 0; changes--) {
            std::int32_t word = draw() % 4 ? static_cast<std::int32_t>(draw() % 100) - 3 : static_cast<std::int32_t>(draw());
            if (draw() % 8) std::memcpy(&bytes[4 * (draw() % 8)], &word, 4);
            else bytes[draw() % bytes.size()] = static_cast<unsigned char>(draw());
        }
    });
}
#endif
