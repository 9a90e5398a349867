// A block's threads as coroutines, switched at __syncthreads; otherwise the CPU's own header.
#include <ucontext.h>

#include <vector>

#define EXPORT(kernel)                                                                                     \
  extern "C" void run_##kernel(const unsigned int* grid, const unsigned int* block, void** arguments) {    \
    values = arguments;                                                                                    \
    run_grid({grid[0], grid[1], 1}, {block[0], block[1], 1}, [] { call(&kernel, values); });               \
  }
#include "cpu.h"

static void** values;
float shared[1 << 16];
static ucontext_t scheduler;
static std::vector<ucontext_t> threads;
static unsigned int current;
static void __syncthreads() { swapcontext(&threads[current], &scheduler); }
static void (*body)();

static void thread_main() { body(); }

// Runs `kernel` for every thread of the grid; between two barriers all threads of a block take their turn.
static void run_grid(dim3 grid, dim3 block, void (*kernel)()) {
  static std::vector<std::vector<char>> stacks;
  const unsigned int count = block.x * block.y;
  body = kernel, gridDim = grid, blockDim = block;
  threads.resize(count), stacks.resize(count);
  for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
      std::vector<bool> done(count, false);
      std::vector<ucontext_t> returns(count);
      for (unsigned int i = 0; i < count; i++) {
        stacks[i].resize(1 << 16);
        getcontext(&threads[i]);
        threads[i].uc_stack.ss_sp = stacks[i].data(), threads[i].uc_stack.ss_size = stacks[i].size();
        threads[i].uc_link = nullptr;
        makecontext(&threads[i], [] { thread_main(); current |= 1u << 31; setcontext(&scheduler); }, 0);
      }
      for (unsigned int left = count; left > 0;)
        for (unsigned int i = 0; i < count; i++) {
          if (done[i]) continue;
          current = i, threadIdx = {i % block.x, i / block.x, 0};
          swapcontext(&scheduler, &threads[i]);
          if (current >> 31) done[i] = true, left--;
        }
    }
}
