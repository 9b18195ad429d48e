// Vectors of 32 bytes with fused multiply-add; compiled with the options of that instruction set alone.
#include "kernels.h"
#if defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#define REGISTERS 16
#define NAME "avx2"
#define KERNELS avx2_kernels
#include "kernels.inc"
#else
namespace anytimenet {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace anytimenet
#endif
