// Multi-step spiking neurons, alone or behind a normalisation, forward and backward.
//
// One thread follows VECTOR neighbouring neurons through all time steps, so that the membrane potential lives in
// registers; the forward pass writes nothing but spikes, and the backward pass rebuilds the potential from the input.
// Tensors are [T, M, C, S] in memory: C channels, S neighbouring elements of the same channel, M the rest. With
// CHANNELS_LAST S is 1 and a thread's neighbours are different channels. `scale` and `shift` [T, C] are the affine of
// a normalisation in front of the neuron. Arithmetic is fp32 whatever STORAGE is. Sums over threads are formed in a
// fixed order: block partials here, the sum of the partials by the caller.
//
// The text in front of this file defines STORAGE_FP32, _FP16 or _BF16; T, CHUNK, VECTOR, CHANNELS_LAST, AFFINE, FIRES,
// HARD_RESET, DETACH_RESET, ROUND_STATE, LEARNT_K; and charge(), charge_dv(), charge_dx(), charge_dk(),
// surrogate(), from sources that the CPU's operators use too.

#if defined(STORAGE_FP32)
typedef float storage;
__device__ inline float widen(storage value) { return value; }
__device__ inline storage narrow(float value) { return value; }
#elif defined(STORAGE_FP16)
typedef unsigned short storage;
#ifdef __CUDACC_RTC__
__device__ inline float half_bits_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ inline unsigned short float_to_half_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif
__device__ inline float widen(storage value) { return half_bits_to_float(value); }
__device__ inline storage narrow(float value) { return float_to_half_bits(value); }
#else
typedef unsigned short storage;  // bf16: the upper half of a float
__device__ inline float widen(storage value) { return __uint_as_float((unsigned int)value << 16); }
__device__ inline storage narrow(float value) {
  unsigned int bits = __float_as_uint(value);
  if (value != value) return (storage)((bits >> 16) | 0x40u);        // stay a NaN
  return (storage)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);     // to nearest, ties to even
}
#endif

#ifndef KERNEL
#define KERNEL extern "C" __global__ __launch_bounds__(256, 2) void
#endif
// Makes the compiler forget what it could derive from a value and would hold in registers of its own.
#ifdef __CUDACC_RTC__
#define KEEP_ONLY(value) asm volatile("" : "+f"(value) : : "memory")
#define KEEP_ONLY_INDEX(value) asm volatile("" : "+l"(value))
#else
#define KEEP_ONLY(value)
#define KEEP_ONLY_INDEX(value)
#endif
// Host compilers keep the order of a float sum, and so do not vectorise it, unless told otherwise.
#ifdef __CUDACC_RTC__
#define SUM_IN_ANY_ORDER(sum) _Pragma("unroll")
#else
#define PRAGMA(text) _Pragma(#text)
#define SUM_IN_ANY_ORDER(sum) PRAGMA(omp simd reduction(+ : sum))
#endif
#define LANES (CHANNELS_LAST ? VECTOR : 1)  // channels a thread follows at once
#define LANE(i) (CHANNELS_LAST ? (i) : 0)

struct __align__(VECTOR * sizeof(storage)) Pack { storage element[VECTOR]; };

struct Shape { long long outer, channels, inner; };  // M, C, S
struct Constants { float v_threshold, v_reset, alpha, k; };
#define SHAPE long long outer, long long channels, long long inner
#define CONSTANTS float v_threshold, float v_reset, float alpha, float k_constant
#define GATHER_SHAPE const Shape shape = {outer, channels, inner};
#define GATHER_CONSTANTS const Constants constants = {v_threshold, v_reset, alpha, k_constant};

__device__ inline long long positions(const Shape& shape) {
  return CHANNELS_LAST ? shape.outer : shape.outer * (shape.inner / VECTOR);
}
__device__ inline long long first_channel() {
  return CHANNELS_LAST ? ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR : blockIdx.x;
}
// Where the thread's neurons lie within a time step.
__device__ inline long long offset(const Shape& shape, long long position, long long channel) {
  if (CHANNELS_LAST) return position * shape.channels + channel;
  long long vectors = shape.inner / VECTOR, row = position / vectors;
  return (row * shape.channels + channel) * shape.inner + (position - row * vectors) * VECTOR;
}
#define FOR_EACH_POSITION(position)                                                                              \
  for (long long position = (long long)blockIdx.y * blockDim.y + threadIdx.y; position < positions(shape);        \
       position += (long long)gridDim.y * blockDim.y)

__device__ inline void load(const storage* from, float (&to)[VECTOR]) {
  Pack pack = *reinterpret_cast<const Pack*>(from);
#pragma unroll
  for (int i = 0; i < VECTOR; i++) to[i] = widen(pack.element[i]);
}
__device__ inline void store(storage* to, const float (&from)[VECTOR]) {
  Pack pack;
#pragma unroll
  for (int i = 0; i < VECTOR; i++) pack.element[i] = narrow(from[i]);
  *reinterpret_cast<Pack*>(to) = pack;
}
// Adds a thread's values to the sums of the channels it follows.
__device__ inline void add(float (&sums)[LANES], const float (&values)[VECTOR]) {
#if CHANNELS_LAST
#pragma unroll
  for (int i = 0; i < VECTOR; i++) sums[i] += values[i];
#else
  float sum = 0.0f;
  SUM_IN_ANY_ORDER(sum)
  for (int i = 0; i < VECTOR; i++) sum += values[i];
  sums[0] += sum;
#endif
}
// A place in memory and its parameters, moved from step to step.
struct Place { long long element, group; };
__device__ inline Place place_of(const Shape& shape, int t, long long at, long long channel) {
  return {t * (shape.outer * shape.channels * shape.inner) + at, t * shape.channels + channel};
}
__device__ inline void move(Place& place, const Shape& shape, int steps) {
  place.element += steps * (shape.outer * shape.channels * shape.inner);
  place.group += steps * shape.channels;
  KEEP_ONLY_INDEX(place.element);
  KEEP_ONLY_INDEX(place.group);
}
// The neuron's input: what is stored, normalised where there is a normalisation.
__device__ inline void load_input(const storage* y, const float* scale, const float* shift, const Place& place,
                                  float (&x)[VECTOR]) {
  load(y + place.element, x);
#if AFFINE
#pragma unroll
  for (int i = 0; i < VECTOR; i++) x[i] = x[i] * scale[place.group + LANE(i)] + shift[place.group + LANE(i)];
#endif
}
__device__ inline float spike(float h, const Constants& constants) {
  return h >= constants.v_threshold ? 1.0f : (h == h ? 0.0f : h);  // a NaN shows instead of passing for silence
}
__device__ inline float reset(float h, float s, const Constants& constants) {
#if HARD_RESET
  float v = s == 1.0f ? constants.v_reset : h;
#else
  float v = h - s * constants.v_threshold;
#endif
  return ROUND_STATE ? widen(narrow(v)) : v;
}
__device__ inline void load_k(const float* k, const Constants& constants, long long channel, float (&to)[LANES]) {
#pragma unroll
  for (int i = 0; i < LANES; i++) to[i] = LEARNT_K ? k[channel + i] : constants.k;
}

// Spikes (or, without FIRES, the normalised input) of y. v_before null: from rest; v_after null: not wanted.
KERNEL forward(const storage* __restrict__ y, const float* scale, const float* shift, const float* k,
                                   const float* v_before, storage* __restrict__ out, float* v_after, SHAPE, CONSTANTS) {
  GATHER_SHAPE GATHER_CONSTANTS
  const long long channel = first_channel();
  if (channel >= shape.channels) return;
  float k_of[LANES];
  load_k(k, constants, channel, k_of);
  FOR_EACH_POSITION(position) {
    const long long at = offset(shape, position, channel);
    float v[VECTOR], x[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; i++) v[i] = v_before ? v_before[at + i] : constants.v_reset;
    Place place = place_of(shape, 0, at, channel);
#pragma unroll CHUNK
    for (int t = 0; t < T; t++, move(place, shape, 1)) {
      load_input(y, scale, shift, place, x);
#if FIRES
#pragma unroll
      for (int i = 0; i < VECTOR; i++) {
        float h = charge(v[i], x[i], k_of[LANE(i)], constants.v_reset);
        x[i] = spike(h, constants);
        v[i] = reset(h, x[i], constants);
      }
#endif
      store(out + place.element, x);
    }
    if (v_after)
#pragma unroll
      for (int i = 0; i < VECTOR; i++) v_after[at + i] = v[i];
  }
}

// Sums each of COUNT values over the threads of a block that follow the same channel.
// partials [gridDim.y, COUNT, C]; shared memory for BATCH values of every thread.
template <int COUNT>
__device__ inline void store_block_sums(const float (&values)[COUNT][LANES], float* partials, const Shape& shape) {
  extern __shared__ float shared[];
  const int width = blockDim.x * LANES, stride = blockDim.y + 1;  // + 1: rows start in different memory banks
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
#pragma unroll
  for (int start = 0; start < COUNT; start += BATCH) {
#pragma unroll
    for (int b = 0; b < BATCH; b++)
      if (start + b < COUNT)
#pragma unroll
        for (int i = 0; i < LANES; i++)
          shared[(b * width + threadIdx.x * LANES + i) * stride + threadIdx.y] = values[start + b][i];
    __syncthreads();
    for (int row = thread; row < BATCH * width; row += threads) {
      const int index = start + row / width;
      const long long channel = (long long)blockIdx.x * width + row % width;
      if (index < COUNT && channel < shape.channels) {
        float sum = 0.0f;
        for (int j = 0; j < blockDim.y; j++) sum += shared[row * stride + j];
        partials[((long long)blockIdx.y * COUNT + index) * shape.channels + channel] = sum;
      }
    }
    __syncthreads();
  }
}

#if !FIRES
// Per step and channel the sums of y - pivot and of its square, partials [gridDim.y, 2 T, C]; the pivot, which keeps
// the squares from cancelling, is the channel's first element of that step.
KERNEL moments(const storage* y, float* partials, SHAPE) {
  GATHER_SHAPE
  const long long channel = first_channel(), step = shape.outer * shape.channels * shape.inner;
  float sums[2 * T][LANES] = {};
  if (channel < shape.channels) {
    float pivot[T][LANES], x[VECTOR], squares[VECTOR];
#pragma unroll CHUNK
    for (int t = 0; t < T; t++)
#pragma unroll
      for (int i = 0; i < LANES; i++) pivot[t][i] = widen(y[t * step + channel * shape.inner + i]);
    FOR_EACH_POSITION(position) {
      Place place = place_of(shape, 0, offset(shape, position, channel), channel);
#pragma unroll CHUNK
      for (int t = 0; t < T; t++, move(place, shape, 1)) {
        load(y + place.element, x);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
          x[i] -= pivot[t][LANE(i)];
          squares[i] = x[i] * x[i];
        }
        add(sums[t], x);
        add(sums[T + t], squares);
      }
    }
  }
  store_block_sums(sums, partials, shape);
}
#endif

#define CHUNKS ((T + CHUNK - 1) / CHUNK)  // a chunk's potentials fit in registers; its start is kept
#define SUMS ((AFFINE ? 2 * T : 0) + (LEARNT_K ? 1 : 0))

// Gradient of the neuron's input (behind the normalisation), of k and of v_before, from that of the spikes and of
// v_after. partials [gridDim.y, SUMS, C]: with AFFINE the sums of the gradient and of gradient * (y - mean) per step,
// then with LEARNT_K that of k. Nulls: no gradient arrives at v_after, none is wanted for v_before.
KERNEL backward(const storage* __restrict__ grad_out, const float* grad_v_after, const storage* __restrict__ y,
                                    const float* scale, const float* shift, const float* mean, const float* k,
                                    const float* v_before, storage* __restrict__ grad_in, float* grad_v_before, float* partials,
                                    SHAPE, CONSTANTS) {
  GATHER_SHAPE GATHER_CONSTANTS
  const long long channel = first_channel();
  float sums[SUMS > 0 ? SUMS : 1][LANES] = {};
  if (channel < shape.channels) {
    float k_of[LANES];
    load_k(k, constants, channel, k_of);
    FOR_EACH_POSITION(position) {
      const long long at = offset(shape, position, channel);
      float start[CHUNKS][VECTOR], h[CHUNK][VECTOR], grad_v[VECTOR], v[VECTOR], x[VECTOR], grad[VECTOR], stored[VECTOR];
#pragma unroll
      for (int i = 0; i < VECTOR; i++) {
        v[i] = v_before ? v_before[at + i] : constants.v_reset;
        start[0][i] = v[i];
        grad_v[i] = grad_v_after ? grad_v_after[at + i] : 0.0f;
      }
#if FIRES
      Place early = place_of(shape, 0, at, channel);
      for (int t = 0; t < (CHUNKS - 1) * CHUNK; t++, move(early, shape, 1)) {
        load_input(y, scale, shift, early, x);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
          const float potential = charge(v[i], x[i], k_of[LANE(i)], constants.v_reset);
          v[i] = reset(potential, spike(potential, constants), constants);
          if (t % CHUNK == CHUNK - 1) start[t / CHUNK + 1][i] = v[i];
        }
      }
#endif
      for (int chunk = CHUNKS - 1; chunk >= 0; chunk--) {
        const int begin = chunk * CHUNK;
        Place place = place_of(shape, begin, at, channel);
#if FIRES
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] = start[chunk][i];
#pragma unroll
        for (int j = 0; j < CHUNK; j++, move(place, shape, 1)) {
          if (begin + j >= T) continue;
          load_input(y, scale, shift, place, x);
#pragma unroll
          for (int i = 0; i < VECTOR; i++) {
            h[j][i] = charge(v[i], x[i], k_of[LANE(i)], constants.v_reset);
            v[i] = reset(h[j][i], spike(h[j][i], constants), constants);
          }
        }
#pragma unroll
        for (int j = 0; j < CHUNK; j++)
#pragma unroll
          for (int i = 0; i < VECTOR; i++) KEEP_ONLY(h[j][i]);
#endif
        place = place_of(shape, begin + CHUNK - 1, at, channel);
#pragma unroll
        for (int j = CHUNK - 1; j >= 0; j--, move(place, shape, -1)) {
          const int t = begin + j;
          if (t >= T) continue;
          load(grad_out + place.element, grad);
#if FIRES
          load_input(y, scale, shift, place, x);  // from the cache; dropped where it is not used
#pragma unroll
          for (int i = 0; i < VECTOR; i++) {
            const float k_i = k_of[LANE(i)], s = spike(h[j][i], constants);
            const float slope = surrogate(h[j][i] - constants.v_threshold, constants.alpha);
#if HARD_RESET
            const float through_reset = 1.0f - s + (DETACH_RESET ? 0.0f : (constants.v_reset - h[j][i]) * slope);
#else
            const float through_reset = DETACH_RESET ? 1.0f : 1.0f - constants.v_threshold * slope;
#endif
            const float grad_h = grad[i] * slope + grad_v[i] * through_reset;
            const float before =
                j > 0 ? reset(h[j > 0 ? j - 1 : 0][i], spike(h[j > 0 ? j - 1 : 0][i], constants), constants)
                      : start[chunk][i];
            grad[i] = grad_h * charge_dx(before, x[i], k_i, constants.v_reset);
            grad_v[i] = grad_h * charge_dv(before, x[i], k_i, constants.v_reset);
            if (LEARNT_K) sums[SUMS > 0 ? SUMS - 1 : 0][LANE(i)] += grad_h * charge_dk(before, x[i], k_i, constants.v_reset);
          }
#endif
          store(grad_in + place.element, grad);
#if AFFINE
          load(y + place.element, stored);
#pragma unroll
          for (int i = 0; i < VECTOR; i++) stored[i] = grad[i] * (stored[i] - mean[place.group + LANE(i)]);
          add(sums[t], grad);
          add(sums[T + t], stored);
#endif
        }
      }
      if (grad_v_before)
#pragma unroll
        for (int i = 0; i < VECTOR; i++) grad_v_before[at + i] = grad_v[i];
    }
  }
  if (SUMS > 0) store_block_sums(sums, partials, shape);
}

#if !FIRES
// grad_y = grad_x * a + y * b + c, a, b, c [T, C]: the normalisation's own backward pass, once the sums are known.
// In place: grad_y may be grad_x.
KERNEL combine(const storage* grad_x, const storage* y, const float* a, const float* b,
                                   const float* c, storage* grad_y, SHAPE) {
  GATHER_SHAPE
  const long long channel = first_channel();
  if (channel >= shape.channels) return;
  FOR_EACH_POSITION(position) {
    Place place = place_of(shape, 0, offset(shape, position, channel), channel);
    float grad[VECTOR], stored[VECTOR];
#pragma unroll CHUNK
    for (int t = 0; t < T; t++, move(place, shape, 1)) {
      load(grad_x + place.element, grad);
      load(y + place.element, stored);
#pragma unroll
      for (int i = 0; i < VECTOR; i++) {
        const long long group = place.group + LANE(i);
        grad[i] = grad[i] * a[group] + stored[i] * b[group] + c[group];
      }
      store(grad_y + place.element, grad);
    }
  }
}
#endif
