// Vectors of 16 bytes, which every target has: SSE2 on x86-64, NEON on ARM, simd128 in WebAssembly.
#define LANES 4
#if defined(__aarch64__)
#define REGISTERS 32
#define NAME "neon"
#elif defined(__wasm__)
#define REGISTERS 16
#define NAME "simd128"
#else
#define REGISTERS 16
#define NAME "sse"
#endif
#define KERNELS portable_kernels
#include "kernels.inc"
