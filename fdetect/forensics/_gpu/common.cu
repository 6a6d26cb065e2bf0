// What every room shares: short names of types, sums over a block, histograms in shared memory.
//
// Launches are (blocks, images, kinds): blockIdx.y is the image, blockIdx.z a colour, lag or direction.  What is added
// up by atomics is a whole number, so that the order in which blocks finish changes nothing; sums of real numbers are
// made by one block, always in one order.  This text stands before that of each room (see launch.source).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define THREADS 256  // of every block, as in launch.py
#define ALL_LANES 0xffffffffu
#define COPIES 4  // histograms of a block: warps that see the same colour do not wait for each other

// Grid-stride loop along x, so that a result does not depend on how many blocks were launched.
#define EACH(i, count) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

// Loop of the threads of one block.
#define SHARE(i, count) for (int i = threadIdx.x; i < (count); i += blockDim.x)

__device__ __forceinline__ int limit(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

__device__ __forceinline__ int distance(int a, int b) {
    return a < b ? b - a : a - b;
}

__device__ __forceinline__ u64 warp_sum(u64 value) {
    for (int step = 16; step; step >>= 1) value += __shfl_down_sync(ALL_LANES, value, step);
    return value;  // of all 32 lanes, in lane 0
}

// Add N whole numbers of every thread to result[0..N-1]; negative ones wrap to the right sum.  All threads must come.
// A place of `sums` is cleared and read by one and the same thread, so that two calls may follow each other.
template <int N>
__device__ void add_up(const u64 (&parts)[N], i64* result) {
    __shared__ u64 sums[N];
    SHARE(i, N) sums[i] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++) {
        const u64 sum = warp_sum(parts[i]);
        if (threadIdx.x % 32 == 0 && sum) atomicAdd(&sums[i], sum);
    }
    __syncthreads();
    SHARE(i, N) if (sums[i]) atomicAdd((u64*)&result[i], sums[i]);
}

// Clear COPIES histograms of `bins` bins.
__device__ __forceinline__ void clear(u32* tables, int bins) {
    SHARE(i, COPIES * bins) tables[i] = 0;
    __syncthreads();
}

// The histogram of this thread's warp.
__device__ __forceinline__ u32* my_table(u32* tables, int bins) {
    return tables + threadIdx.x / 32 % COPIES * bins;
}

// Add the histograms of a block to those of its image; empty bins cost nothing.
__device__ __forceinline__ void merge(const u32* tables, int bins, i64* result) {
    __syncthreads();
    SHARE(i, bins) {
        u32 count = 0;
        for (int copy = 0; copy < COPIES; copy++) count += tables[copy * bins + i];
        if (count) atomicAdd((u64*)&result[i], (u64)count);
    }
}

// Sum of real numbers over a block, known to all its threads; always added in one order.
__device__ double ordered_sum(double value) {
    __shared__ double sums[THREADS];
    __syncthreads();
    sums[threadIdx.x] = value;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}

// The sample that stands at any place of a signal mirrored at half a sample beyond its ends.
__device__ __forceinline__ int mirror(int place, int length) {
    int p = place % (2 * length);
    if (p < 0) p += 2 * length;
    return p < length ? p : 2 * length - 1 - p;
}
