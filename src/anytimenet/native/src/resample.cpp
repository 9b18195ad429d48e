#include "resample.h"

#include <cmath>

namespace anytimenet {
namespace {

constexpr double kPi = 3.14159265358979323846;

double sinc(double x) { return x == 0 ? 1 : std::sin(kPi * x) / (kPi * x); }

// Pixels from the middle to where a filter ends, at the size of the image.
double support(Filter filter) {
    switch (filter) {
        case Filter::box: return 0.5;
        case Filter::bicubic: return 2;
        case Filter::lanczos: return 3;
        default: return 1;
    }
}

double value(Filter filter, double x) {
    double far = std::fabs(x);
    switch (filter) {
        case Filter::box: return x > -0.5 && x <= 0.5 ? 1 : 0;
        case Filter::hamming: return far >= 1 ? 0 : sinc(far) * (0.54 + 0.46 * std::cos(kPi * far));
        case Filter::bicubic: {  // of Keys, with a = -1/2
            constexpr double a = -0.5;
            if (far < 1) return ((a + 2) * far - (a + 3)) * far * far + 1;
            return far < 2 ? (((far - 5) * far + 8) * far - 4) * a : 0;
        }
        case Filter::lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
        default: return far < 1 ? 1 - far : 0;
    }
}

std::int32_t fixed(double weight) {
    double scaled = weight * (1 << kWeightBits);
    return static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

bool Windows::make(const Side& side, Filter filter) {
    if (!begins_.take(side.count) || !lengths_.take(side.count)) return false;
    if (side.from == side.resized) {
        stride_ = 0;
        if (!weights_.take(1)) return false;
        weights_.get()[0] = 1 << kWeightBits;
        for (std::int32_t i = 0; i < side.count; i++) begins_.get()[i] = side.first + i, lengths_.get()[i] = 1;
    } else if (filter == Filter::nearest) {
        stride_ = 0;
        if (!weights_.take(1)) return false;
        weights_.get()[0] = 1 << kWeightBits;
        nearest(side);
    } else if (!weighted(side, filter)) {
        return false;
    }
    first_ = begin(0), last_ = begin(0) + length(0);
    for (std::int32_t i = 1; i < side.count; i++) {
        if (begin(i) < first_) first_ = begin(i);
        if (begin(i) + length(i) > last_) last_ = begin(i) + length(i);
    }
    return true;
}

// Pillow adds up the step, and so does this, for the same roundings.
void Windows::nearest(const Side& side) {
    double step = static_cast<double>(side.from) / static_cast<double>(side.resized), at = step * 0.5;
    for (std::int64_t i = 0; i < side.first + side.count; i++, at += step) {
        if (i < side.first) continue;
        auto pixel = static_cast<std::int64_t>(at);
        begins_.get()[i - side.first] = pixel < side.from ? pixel : side.from - 1;
        lengths_.get()[i - side.first] = 1;
    }
}

bool Windows::weighted(const Side& side, Filter filter) {
    double scale = static_cast<double>(side.from) / static_cast<double>(side.resized);
    double stretch = scale < 1 ? 1 : scale, reach = support(filter) * stretch;  // antialiased where it shrinks
    stride_ = 2 * static_cast<std::int64_t>(std::ceil(reach)) + 1;
    Buffer<double> own;
    if (!own.take(stride_) || !weights_.take(stride_ * side.count)) return false;
    double* weights = own.get();
    for (std::int32_t i = 0; i < side.count; i++) {
        double middle = (static_cast<double>(side.first + i) + 0.5) * scale, sum = 0;
        auto begin = static_cast<std::int64_t>(middle - reach + 0.5);
        auto end = static_cast<std::int64_t>(middle + reach + 0.5);
        if (begin < 0) begin = 0;
        if (end > side.from) end = side.from;
        auto length = static_cast<std::int32_t>(end - begin);
        for (std::int32_t n = 0; n < length; n++) {
            weights[n] = value(filter, (static_cast<double>(n + begin) - middle + 0.5) * (1 / stretch));
            sum += weights[n];
        }
        std::int32_t* to = weights_.get() + i * stride_;
        for (std::int32_t n = 0; n < length; n++) to[n] = fixed(sum != 0 ? weights[n] / sum : weights[n]);
        begins_.get()[i] = begin, lengths_.get()[i] = length;
    }
    return true;
}

}  // namespace anytimenet
