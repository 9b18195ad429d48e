// From the pixels of an image to the numbers that a net reads, bit for bit as anytimenet.core.images does it with
// Pillow: laid over white, grey or RGB, resized in fixed point, the centre cropped, standardised.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "../include/anytimenet.h"
#include "resample.h"

using namespace anytimenet;

namespace {

struct Pixels {
    const std::uint8_t* data;
    std::int64_t height, width;
    std::int32_t channels;
};

// What of the image becomes the input: as `fit` in anytimenet/core/images/decoding.py.
struct Fitted {
    Side vertical, horizontal;
    std::int64_t factor;  // not 0: the mean of squares of so many pixels a side, from `first` of each side on
};

// A pixel becomes value * scale - shift, in single precision.
struct Standard {
    float scale, shift;
    float of(int value) const {
        float scaled = static_cast<float>(value) * scale;
        return scaled - shift;
    }
};

Standard standard(const anytime_preprocessing& p, std::int32_t channel) {
    return {static_cast<float>(1 / (255 * p.std[channel])), static_cast<float>(p.mean[channel] / p.std[channel])};
}

bool usable(const anytime_preprocessing& p) {
    auto side = [](std::int32_t value) { return value >= 1 && value <= ANYTIME_MOST_SIDE; };
    if (!side(p.height) || !side(p.width) || (p.channels != 1 && p.channels != 3) || p.reserved) return false;
    if (p.filter < ANYTIME_NEAREST || p.filter > ANYTIME_LANCZOS) return false;
    std::int32_t longer = p.height > p.width ? p.height : p.width;
    if (p.shorter_side && (!side(p.shorter_side) || p.shorter_side < longer)) return false;
    for (std::int32_t c = 0; c < p.channels; c++) {
        if (!std::isfinite(p.mean[c]) || !std::isfinite(p.std[c]) || p.std[c] <= 0) return false;
        Standard own = standard(p, c);  // infinite where the std is tiny; between black and white nothing is larger
        if (!std::isfinite(own.of(0)) || !std::isfinite(own.of(255))) return false;
    }
    return true;
}

bool too_many(std::int64_t height, std::int64_t width) { return height > ANYTIME_MOST_PIXELS / width; }

std::int64_t half_to_even(double value) { return static_cast<std::int64_t>(std::rint(value)); }

// False if the resized image has too many pixels.
bool fit(const Pixels& image, const anytime_preprocessing& p, Fitted& to) {
    std::int64_t height = image.height, width = image.width, shorter = p.shorter_side;
    to = {{height, height, 0, p.height}, {width, width, 0, p.width}, 0};
    if (shorter) {
        bool upright = width <= height;
        double ratio = static_cast<double>(shorter * (upright ? height : width)) /
                       static_cast<double>(upright ? width : height);
        auto longer = static_cast<std::int64_t>(ratio);
        to.vertical.resized = upright ? longer : shorter, to.horizontal.resized = upright ? shorter : longer;
        for (Side* side : {&to.vertical, &to.horizontal})
            side->first = half_to_even(static_cast<double>(side->resized - side->count) / 2);
    } else if (height != p.height || width != p.width) {
        bool wide = width * p.height >= height * p.width;
        std::int64_t own = wide ? height : width, wanted = wide ? p.height : p.width;
        if (p.filter == ANYTIME_BOX && own % wanted == 0) {
            to.factor = own / wanted;
            to.vertical.first = (height - to.factor * p.height) / 2;
            to.horizontal.first = (width - to.factor * p.width) / 2;
            return true;
        }
        double down = static_cast<double>(p.height) / static_cast<double>(height);
        double across = static_cast<double>(p.width) / static_cast<double>(width);
        double scale = down > across ? down : across;
        for (Side* side : {&to.vertical, &to.horizontal}) {
            std::int64_t size = half_to_even(static_cast<double>(side->from) * scale);
            side->resized = size > side->count ? size : side->count;
            side->first = (side->resized - side->count) / 2;
        }
    }
    return !too_many(to.vertical.resized, to.horizontal.resized);
}

std::uint8_t over_white(std::uint32_t value, std::uint32_t alpha) {
    std::uint32_t sum = (value * alpha + 255 * (255 - alpha)) * 128 + (128 << 7);  // 7 bits behind the point
    return static_cast<std::uint8_t>((((sum >> 8) + sum) >> 8) >> 7);              // divided by 255, rounded
}

std::uint8_t luma(std::uint32_t red, std::uint32_t green, std::uint32_t blue) {  // of ITU-R 601-2
    return static_cast<std::uint8_t>((red * 19595 + green * 38470 + blue * 7471 + (1 << 15)) >> 16);
}

// `count` pixels as `channels` bytes each.
void convert(const std::uint8_t* from, std::int32_t from_channels, std::int64_t count, std::int32_t channels,
             std::uint8_t* to) {
    if (from_channels == channels) {
        std::memcpy(to, from, static_cast<std::size_t>(count * channels));
        return;
    }
    for (std::int64_t i = 0; i < count; i++, from += from_channels, to += channels) {
        std::uint8_t own[3] = {from[0], from[0], from[0]};
        if (from_channels >= 3) own[1] = from[1], own[2] = from[2];
        if (from_channels == 4 && from[3] != 255)
            for (std::uint8_t& value : own) value = over_white(value, from[3]);
        if (channels == 3) to[0] = own[0], to[1] = own[1], to[2] = own[2];
        else to[0] = luma(own[0], own[1], own[2]);
    }
}

// `row` begins with the first pixel that is read.
template <int channels>
void resize_row(const std::uint8_t* row, const Windows& windows, std::int32_t count, std::uint8_t* to) {
    for (std::int32_t x = 0; x < count; x++) {
        const std::uint8_t* from = row + (windows.begin(x) - windows.first()) * channels;
        const std::int32_t* weights = windows.weights(x);
        std::int32_t sums[channels], length = windows.length(x);
        for (std::int32_t& sum : sums) sum = 1 << (kWeightBits - 1);
        for (std::int32_t n = 0; n < length; n++)
            for (int c = 0; c < channels; c++) sums[c] += from[n * channels + c] * weights[n];
        for (int c = 0; c < channels; c++) to[x * channels + c] = as_pixel(sums[c]);
    }
}

// Rows of an image that is ready, one after the other: value * scale - shift, channel after channel.
class Standardised {
  public:
    Standardised(const anytime_preprocessing& p, float* to) : p_(p), to_(to) {
        for (std::int32_t c = 0; c < p.channels; c++) {
            Standard own = standard(p, c);
            for (int value = 0; value < 256; value++) table_[c][value] = own.of(value);
        }
    }
    void write(std::int32_t row, const std::uint8_t* pixels) const {
        std::int64_t plane = static_cast<std::int64_t>(p_.height) * p_.width;
        for (std::int32_t c = 0; c < p_.channels; c++) {
            float* to = to_ + c * plane + static_cast<std::int64_t>(row) * p_.width;
            for (std::int32_t x = 0; x < p_.width; x++) to[x] = table_[c][pixels[x * p_.channels + c]];
        }
    }

  private:
    const anytime_preprocessing& p_;
    float* to_;
    float table_[3][256];
};

// Some columns of an image as grey or RGB, row by row.
class Rows {
  public:
    Rows(const Pixels& image, std::int32_t channels, std::int64_t first, std::int64_t last)
        : image_(image), channels_(channels), first_(first), count_(last - first) {}

    bool take() { return image_.channels == channels_ || row_.take(numbers()); }
    std::int64_t numbers() const { return count_ * channels_; }
    // Until the next call.
    const std::uint8_t* at(std::int64_t y) {
        const std::uint8_t* from = image_.data + (y * image_.width + first_) * image_.channels;
        if (image_.channels == channels_) return from;
        convert(from, image_.channels, count_, channels_, row_.get());
        return row_.get();
    }

  private:
    const Pixels& image_;
    std::int32_t channels_;
    std::int64_t first_, count_;
    Buffer<std::uint8_t> row_;
};

// Row `y` of a resized side, of rows that `row` gives.
template <class Row>
void mix_rows(const Windows& down, std::int32_t y, std::int64_t numbers, Row row, std::int32_t* sums,
              std::uint8_t* to) {
    for (std::int64_t i = 0; i < numbers; i++) sums[i] = 1 << (kWeightBits - 1);
    for (std::int32_t n = 0; n < down.length(y); n++) {
        const std::uint8_t* from = row(down.begin(y) + n);
        std::int32_t weight = down.weights(y)[n];
        for (std::int64_t i = 0; i < numbers; i++) sums[i] += from[i] * weight;
    }
    for (std::int64_t i = 0; i < numbers; i++) to[i] = as_pixel(sums[i]);
}

// In two passes with 8 bits between them. Pillow goes over the height first where it shrinks much more than the
// width (since version 13), and this does, for the same roundings.
std::int32_t resized(const Pixels& image, const Fitted& fitted, const anytime_preprocessing& p,
                     const Standardised& done) {
    auto filter = static_cast<Filter>(p.filter);
    const Side &vertical = fitted.vertical, &horizontal = fitted.horizontal;
    std::int64_t lower = vertical.from - vertical.resized, narrower = horizontal.from - horizontal.resized;
    bool height_first = lower > 0 && lower > 2 * narrower;
    Windows across, down;
    if (!across.make(horizontal, filter) || !down.make(vertical, filter)) return ANYTIME_NO_MEMORY;
    Rows rows(image, p.channels, across.first(), across.last());
    std::int64_t numbers = static_cast<std::int64_t>(p.width) * p.channels;
    std::int64_t most = rows.numbers() > numbers ? rows.numbers() : numbers;
    Buffer<std::uint8_t> kept, row;
    Buffer<std::int32_t> sums;
    if (!rows.take() || !sums.take(most) || !row.take(most)) return ANYTIME_NO_MEMORY;
    auto narrow = [&](const std::uint8_t* from, std::uint8_t* to) {
        if (p.channels == 1) resize_row<1>(from, across, p.width, to);
        else resize_row<3>(from, across, p.width, to);
    };
    if (height_first) {
        if (!kept.take(numbers)) return ANYTIME_NO_MEMORY;
        for (std::int32_t y = 0; y < p.height; y++) {
            mix_rows(down, y, rows.numbers(), [&](std::int64_t at) { return rows.at(at); }, sums.get(), row.get());
            narrow(row.get(), kept.get());
            done.write(y, kept.get());
        }
        return 0;
    }
    if (!kept.take((down.last() - down.first()) * numbers)) return ANYTIME_NO_MEMORY;
    auto narrowed = [&](std::int64_t at) { return kept.get() + (at - down.first()) * numbers; };
    for (std::int64_t y = down.first(); y < down.last(); y++) narrow(rows.at(y), narrowed(y));
    for (std::int32_t y = 0; y < p.height; y++) {
        mix_rows(down, y, numbers, narrowed, sums.get(), row.get());
        done.write(y, row.get());
    }
    return 0;
}

// The exact mean of each square, rounded once.
std::int32_t averaged(const Pixels& image, const Fitted& fitted, const anytime_preprocessing& p,
                      const Standardised& done) {
    std::int64_t numbers = static_cast<std::int64_t>(p.width) * p.channels, factor = fitted.factor;
    std::int64_t wide = factor * p.width, square = factor * factor;
    Buffer<std::uint8_t> row;
    Buffer<std::int64_t> sums;
    if (!row.take(wide * p.channels) || !sums.take(numbers)) return ANYTIME_NO_MEMORY;
    for (std::int32_t y = 0; y < p.height; y++) {
        std::int64_t* sum = sums.get();
        for (std::int64_t i = 0; i < numbers; i++) sum[i] = 0;
        for (std::int64_t n = 0; n < factor; n++) {
            std::int64_t at = (fitted.vertical.first + y * factor + n) * image.width + fitted.horizontal.first;
            convert(image.data + at * image.channels, image.channels, wide, p.channels, row.get());
            const std::uint8_t* from = row.get();
            for (std::int32_t x = 0; x < p.width; x++)
                for (std::int64_t i = 0; i < factor; i++)
                    for (std::int32_t c = 0; c < p.channels; c++) sum[x * p.channels + c] += *from++;
        }
        for (std::int64_t i = 0; i < numbers; i++)
            row.get()[i] = static_cast<std::uint8_t>((2 * sum[i] + square) / (2 * square));
        done.write(y, row.get());
    }
    return 0;
}

}  // namespace

extern "C" int32_t anytime_prepare(const uint8_t* pixels, int32_t height, int32_t width, int32_t channels,
                                   const anytime_preprocessing* preprocessing, float* to) {
    if (!pixels || !preprocessing || !to || height < 1 || width < 1) return ANYTIME_UNUSABLE;
    if (channels != 1 && channels != 3 && channels != 4) return ANYTIME_UNUSABLE;
    if (!usable(*preprocessing)) return ANYTIME_UNUSABLE;
    if (too_many(height, width)) return ANYTIME_TOO_LARGE;
    Pixels image{pixels, height, width, channels};
    Fitted fitted;
    if (!fit(image, *preprocessing, fitted)) return ANYTIME_TOO_LARGE;
    Standardised done(*preprocessing, to);
    return fitted.factor ? averaged(image, fitted, *preprocessing, done)
                         : resized(image, fitted, *preprocessing, done);
}
