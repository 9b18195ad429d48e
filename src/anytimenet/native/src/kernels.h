// What kernels are asked to do: plain structures, so that code for one instruction set shares nothing with
// code for another but these names. Images are planes of floats, one a channel, `plane` floats apart; every
// plane ends with so much room that a vector which begins in the image may be read and written whole.
#pragma once

namespace anytimenet {

constexpr int kLanes = 16;  // of the widest vector; planes and offsets are multiples of so many floats

// Where planes are written: rows one after the other, or, with `row` > 0, the inside of an image with borders.
struct Target {
    float* data;
    long plane;
    int width;  // pixels of a row
    int row;    // floats from one row to the next; 0: rows follow each other
};

// out[m][p] = clamp(bias[m] + sum over k of weight[m][k] * in[k][p] (+ residual[m][p]))
struct Gemm {
    const float* weight;  // packed: tiles of `tile` rows, in them k columns of `tile` numbers
    const float* bias;    // one for each row of all tiles
    const float* in;
    long in_plane;
    const float* residual;  // or null; may be `out` itself
    long residual_plane;
    Target out;
    int rows, columns, pixels, tile;
    float low, high;
    // Where not null: clamp(scale * out + shift), rows one after the other, is written there, too.
    float* next;
    long next_plane;
    const float *next_scale, *next_shift;
    float next_low, next_high;
};

// A convolution of an image with borders. Vectors of pixels and taps are told by their offsets.
struct Conv {
    const float* weight;  // packed: groups, tiles of rows, in them channels, taps, and `tile` numbers
    const float* bias;    // one for each row of all tiles
    const float* in;
    long in_plane;
    Target out;
    const int* taps;      // offset of each tap in a plane
    const int* in_at;     // offset of each vector of pixels in a plane of the image
    const int* out_at;    // and in a plane of the result
    int in_second;        // offset of the second half of a vector, where it is of the next row; else 0
    int out_second;
    int vectors, tap_count, groups, group_in, group_out, tile;
    int step;             // pixels of the image between two of the result; 1 or, in depthwise ones, 2
    int window_height, window_width, in_row;
    int rows, row_vectors;  // of the result, if its rows follow those of the image, else 0; none in rows of half a vector at most
    float low, high;
};

// out = clamp(scale * in + shift), channel by channel; scale and shift may be null.
struct Affine {
    const float *scale, *shift, *in;
    long in_plane;
    Target out;
    int channels, pixels;
    float low, high;
};

// out = clamp(one + other); either may be `out`.
struct Add {
    const float *one, *other;
    long one_plane, other_plane;
    Target out;
    int channels, pixels;
    float low, high;
};

// Windows of `window_height` x `window_width`; `border` counts pixels of the padding, else they are left out.
struct Pool {
    const float* in;
    long in_plane;
    Target out;
    int channels, in_height, in_width, out_height, out_width;
    int window_height, window_width, stride_y, stride_x, top, left, bottom, right;
    bool largest, border;
};

// out[c] = mean over pixels of clamp(scale * in + shift)
struct Mean {
    const float *scale, *shift, *in;
    long in_plane;
    float* out;
    int channels, pixels;
    float low, high;
};

// out[m] = clamp(bias[m] + sum over k of weight[m][k] * in[k]); rows of the weight are `stride` floats apart
struct Linear {
    const float *weight, *bias, *in;
    float* out;
    int rows, columns, stride;
    float low, high;
};

// Copies planes into an image with borders; with columns apart by their remainder by `step`.
struct Frame {
    const float* in;
    long in_plane;
    float* out;  // of the first pixel of the image's row 0, border included
    long out_plane;
    int channels, height, width, row, top, left, step, part;  // `part`: floats of one remainder's columns
};

struct Kernels {
    const char* name;
    int lanes;
    int (*gemm_tile)(int rows, int pixels);
    void (*gemm)(const Gemm&);
    int (*conv_tile)(int group_out);
    void (*conv)(const Conv&);
    void (*depthwise)(const Conv&);
    void (*affine)(const Affine&);
    void (*add)(const Add&);
    void (*pool)(const Pool&);
    void (*mean)(const Mean&);
    void (*linear)(const Linear&);
    void (*frame)(const Frame&);
    // So many rounds of multiply-adds that wait for nothing; returns how many those were.
    double (*multiply)(long rounds);
};

// Null where the library was built without them.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace anytimenet
