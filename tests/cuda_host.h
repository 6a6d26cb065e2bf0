// Enough of CUDA to run a kernel on the processor, for tests on machines without a graphics card.
//
// The threads of a block are fibres of one operating-system thread: each runs until it waits at a barrier or ends, and
// blocks run one after another.  So what one thread does between two barriers is never interrupted, and an atomic
// addition is an addition.  Threads and blocks take turns in an order that changes with the launch: a barrier that is
// missing in a kernel shows as a wrong result, one that some threads never reach as a launch that returns 1.
// Not shown: two threads that write one place between the same barriers without an atomic operation.

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

#include <functional>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static  // one block runs at a time; like on the device, nothing clears it

struct Index {
    unsigned x, y, z;
};

static Index threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr unsigned MOST = 1024, STACK = 128 * 1024;

struct Fibre {
    ucontext_t start;
    jmp_buf place;
    bool begun, ended;
};

struct Barrier {
    unsigned waiting, generation;
};

static Fibre* fibres;
static char* stacks;
static jmp_buf scheduler;
static unsigned current, moves, alive;
static Barrier block_barrier, warp_barriers[MOST / 32];
static const std::function<void()>* body;
static unsigned long long state = 1;

static unsigned draw(unsigned below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % below;
}

static void pause() {
    if (!_setjmp(fibres[current].place)) _longjmp(scheduler, 1);
}

static void work() {  // a fibre serves one thread after another, for all launches
    for (;;) {
        (*body)();
        fibres[current].ended = true;
        moves++;
        alive--;
        pause();
    }
}

static void resume(unsigned thread) {
    current = thread;
    threadIdx = {thread, 0, 0};
    if (_setjmp(scheduler)) return;
    Fibre& fibre = fibres[thread];
    if (fibre.begun) _longjmp(fibre.place, 1);
    fibre.begun = true;
    getcontext(&fibre.start);
    fibre.start.uc_stack.ss_sp = stacks + (size_t)thread * STACK;
    fibre.start.uc_stack.ss_size = STACK;
    makecontext(&fibre.start, work, 0);
    setcontext(&fibre.start);
}

static void wait(Barrier& barrier, unsigned size) {
    const unsigned generation = barrier.generation;
    moves++;
    if (++barrier.waiting == size) {
        barrier.waiting = 0;
        barrier.generation++;
    } else {
        while (barrier.generation == generation) pause();
    }
}

static bool run_block(const unsigned* order) {
    const unsigned threads = blockDim.x;
    alive = threads;
    for (unsigned i = 0; i < threads; i++) fibres[i].ended = false;
    while (alive) {
        const unsigned before = moves;
        for (unsigned i = 0; i < threads; i++)
            if (!fibres[order[i]].ended) resume(order[i]);
        if (moves == before) {  // nobody arrived anywhere: they wait for each other
            for (unsigned i = 0; i < MOST; i++) fibres[i].begun = false;
            block_barrier = {};
            for (Barrier& barrier : warp_barriers) barrier = {};
            return false;
        }
    }
    return true;
}

static int launch(const unsigned* grid, const unsigned* block, unsigned seed, const std::function<void()>& kernel) {
    if (block[0] > MOST || block[0] % 32 || block[1] != 1 || block[2] != 1) return 2;
    if (!fibres) {
        fibres = (Fibre*)calloc(MOST, sizeof(Fibre));
        stacks = (char*)malloc((size_t)MOST * STACK);
    }
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], 1, 1};
    body = &kernel;
    state = seed;
    unsigned order[MOST];
    for (unsigned i = 0; i < block[0]; i++) order[i] = i;
    const bool backwards = draw(2);
    const unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    for (unsigned long long k = 0; k < blocks; k++) {
        const unsigned long long b = backwards ? blocks - 1 - k : k;
        blockIdx = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
        for (unsigned i = block[0] - 1; i; i--) std::swap(order[i], order[draw(i + 1)]);
        if (!run_block(order)) return 1;
    }
    return 0;
}

// What each lane of a warp gives, seen by all.  Two sets of places take turns, so that one barrier is enough.
template <class T>
static const T* exchange(T value) {
    static T places[2][MOST];
    static unsigned char turns[MOST];
    T* place = places[turns[current] ^= 1];
    place[current] = value;
    wait(warp_barriers[current / 32], 32);
    return place + current / 32 * 32;
}

}  // namespace host

static inline void __syncthreads() { host::wait(host::block_barrier, blockDim.x); }

template <class T>
static T __shfl_down_sync(unsigned, T value, int step) {
    const unsigned lane = threadIdx.x % 32;
    const T* values = host::exchange(value);
    return lane + step < 32 ? values[lane + step] : value;
}

template <class T>
static unsigned __match_any_sync(unsigned, T value) {
    const T* values = host::exchange(value);
    unsigned same = 0;
    for (unsigned lane = 0; lane < 32; lane++) same |= (unsigned)(values[lane] == value) << lane;
    return same;
}

static inline int __ffs(unsigned bits) { return __builtin_ffs((int)bits); }
static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <class T>
static T atomicAdd(T* place, T value) {
    static_assert(std::is_integral_v<T>, "the order of blocks would change a real sum");
    const T before = *place;
    *place += value;
    return before;
}
