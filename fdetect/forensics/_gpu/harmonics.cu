// The cross-difference folded into one period.

#define PERIOD 1024  // the longest one

// blockIdx.z = colour * period + row of the period: a block holds the sums of one row of one colour.
extern "C" __global__ void folded_cross_difference(
    const u8* __restrict__ rgb8, int period, int H, int W, i64* __restrict__ sums) {
    __shared__ u64 folded[PERIOD];
    const int colour = blockIdx.z / period, phase = blockIdx.z % period;
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3 + colour;
    const int rows = (H - 1) / period, columns = (W - 1) / period * period;
    SHARE(i, period) folded[i] = 0;
    __syncthreads();
    EACH(i, columns) {  // down one column: a thread adds to shared memory once
        u64 sum = 0;
        for (int k = 0; k < rows; k++) {
            const u8* p = image + ((k * period + phase) * W + i) * 3;
            sum += distance(p[0] + p[3 * W + 3], p[3] + p[3 * W]);
        }
        atomicAdd(&folded[i % period], sum);
    }
    __syncthreads();
    i64* result = sums + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * period;
    SHARE(i, period) if (folded[i]) atomicAdd((u64*)&result[i], folded[i]);
}
