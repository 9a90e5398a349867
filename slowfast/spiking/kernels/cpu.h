// CUDA's built-ins on the host.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

struct dim3 { unsigned int x, y, z; };
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
#define KERNEL static void
#define __device__ static
#define __shared__
#define __align__(n)
#define __restrict__ __restrict
using std::abs;
using std::exp;

static inline unsigned int __float_as_uint(float value) { unsigned int bits; memcpy(&bits, &value, 4); return bits; }
static inline float __uint_as_float(unsigned int bits) { float value; memcpy(&value, &bits, 4); return value; }
static inline float half_bits_to_float(unsigned short bits) { _Float16 half; memcpy(&half, &bits, 2); return half; }
static inline unsigned short float_to_half_bits(float value) {
  _Float16 half = value;
  unsigned short bits;
  memcpy(&bits, &half, 2);
  return bits;
}

// Calls a kernel with the values that `values` point to.
template <typename... Arguments, size_t... I>
static void call(void (*kernel)(Arguments...), void** values, std::index_sequence<I...>) {
  kernel(*reinterpret_cast<Arguments*>(values[I])...);
}
template <typename... Arguments>
static void call(void (*kernel)(Arguments...), void** values) {
  call(kernel, values, std::index_sequence_for<Arguments...>());
}

#ifndef EXPORT  // one thread a block: nothing to wait for
static inline void __syncthreads() {}
thread_local float shared[1 << 14];
// A C function that runs the blocks first .. end - 1 of a grid.
#define EXPORT(kernel)                                                                                   \
  extern "C" void run_##kernel(const unsigned int* grid, long first, long end, void** values) {          \
    gridDim = {grid[0], grid[1], 1}, blockDim = {1, 1, 1}, threadIdx = {0, 0, 0};                        \
    for (long block = first; block < end; block++) {                                                     \
      blockIdx = {(unsigned int)(block % grid[0]), (unsigned int)(block / grid[0]), 0};                  \
      call(&kernel, values);                                                                             \
    }                                                                                                    \
  }
#endif
