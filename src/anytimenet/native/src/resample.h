// How the pixels of a resized side are made of those of an image: weights in fixed point, as Pillow has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace anytimenet {

// In the order of anytimenet.core.images.decoding.RESAMPLE and of ANYTIME_NEAREST and those behind it.
enum class Filter : std::int32_t { nearest = 0, box, bilinear, hamming, bicubic, lanczos };

// Memory that may be missing, which its `take` says: whoever prepares images throws nothing.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    bool take(std::int64_t count) {
        std::free(data_);
        data_ = nullptr;
        if (count < 0 || static_cast<std::uint64_t>(count) > SIZE_MAX / 2 / sizeof(T)) return false;
        data_ = static_cast<T*>(std::calloc(static_cast<std::size_t>(count ? count : 1), sizeof(T)));
        return data_ != nullptr;
    }
    T* get() { return data_; }
    const T* get() const { return data_; }

  private:
    T* data_ = nullptr;
};

constexpr int kWeightBits = 32 - 8 - 2;  // behind the point: a sum of 8 bits and a sign stay in 32

// A sum of pixels times weights, which began with half of one, as a pixel.
inline std::uint8_t as_pixel(std::int32_t sum) {
    std::int32_t value = sum >> kWeightBits;
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// A run of pixels of a side of an image that is resized.
struct Side {
    std::int64_t from;     // pixels of the image
    std::int64_t resized;  // and after resizing
    std::int64_t first;    // of the resized ones, the first that is wanted
    std::int32_t count;    // and how many are
};

// For each pixel that is wanted: the pixels of the image that it is made of, and how much of each.
class Windows {
  public:
    // False if there is no memory.
    bool make(const Side& side, Filter filter);

    std::int64_t begin(std::int32_t pixel) const { return begins_.get()[pixel]; }
    std::int32_t length(std::int32_t pixel) const { return lengths_.get()[pixel]; }
    const std::int32_t* weights(std::int32_t pixel) const { return weights_.get() + pixel * stride_; }
    // The pixels of the image that are read at all.
    std::int64_t first() const { return first_; }
    std::int64_t last() const { return last_; }  // one behind it

  private:
    void nearest(const Side& side);
    bool weighted(const Side& side, Filter filter);

    Buffer<std::int64_t> begins_;
    Buffer<std::int32_t> lengths_, weights_;
    std::int64_t stride_ = 1, first_ = 0, last_ = 0;
};

}  // namespace anytimenet
