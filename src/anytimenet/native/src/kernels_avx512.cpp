// Vectors of 64 bytes; compiled with the options of that instruction set alone.
#include "kernels.h"
#if defined(__AVX512F__)
#define LANES 16
#define REGISTERS 32
#define NAME "avx512"
#define KERNELS avx512_kernels
#include "kernels.inc"
#else
namespace anytimenet {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace anytimenet
#endif
