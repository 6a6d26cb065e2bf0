// Colour statistics: whole-number counts and sums from the stored pixels.

#define LEVELS 256
#define BINS (4 * LEVELS + 8)  // three colours, saturation, pixels with n colours at 0 and at 255

extern "C" __global__ void exposure_counts(
    const u8* __restrict__ rgb8, int n, i64* __restrict__ levels, i64* __restrict__ saturations,
    i64* __restrict__ ends) {
    __shared__ u32 tables[COPIES * BINS];
    const u8* image = rgb8 + (i64)blockIdx.y * n * 3;
    clear(tables, BINS);
    u32* table = my_table(tables, BINS);
    EACH(i, n) {
        int most = 0, least = 255, low = 0, high = 0;
        for (int c = 0; c < 3; c++) {
            const int level = image[3 * i + c];
            atomicAdd(&table[LEVELS * c + level], 1u);
            most = level > most ? level : most;
            least = level < least ? level : least;
            low += level == 0;
            high += level == 255;
        }
        atomicAdd(&table[3 * LEVELS + (most ? 255 * (most - least) / most : 0)], 1u);
        atomicAdd(&table[4 * LEVELS + low], 1u);
        atomicAdd(&table[4 * LEVELS + 4 + high], 1u);
    }
    __syncthreads();
    SHARE(i, BINS) {
        u64 count = 0;
        for (int copy = 0; copy < COPIES; copy++) count += tables[copy * BINS + i];
        i64* home = i < 3 * LEVELS   ? levels + (i64)blockIdx.y * 3 * LEVELS + i
                    : i < 4 * LEVELS ? saturations + (i64)blockIdx.y * LEVELS + i - 3 * LEVELS
                                     : ends + (i64)blockIdx.y * 8 + i - 4 * LEVELS;
        if (count) atomicAdd((u64*)home, count);
    }
}

// Add the products RR RG RB GG GB BB.
__device__ __forceinline__ void add_products(const int (&r)[3], u64 (&parts)[6]) {
    int k = 0;
#pragma unroll
    for (int a = 0; a < 3; a++)
#pragma unroll
        for (int b = a; b < 3; b++) parts[k++] += (i64)(r[a] * r[b]);
}

// Residuals of order blockIdx.z: first differences, second differences (right and down each), the mixed difference.
extern "C" __global__ void colour_difference_products(
    const u8* __restrict__ rgb8, int H, int W, i64* __restrict__ sums) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int order = blockIdx.z, right = 3, down = 3 * W;
    u64 parts[6] = {0};
    EACH(i, H * W) {
        const int y = i / W, x = i % W;
        const u8* p = image + i * 3;
        int r[3];
        if (order == 2) {
            if (y + 1 >= H || x + 1 >= W) continue;
            for (int c = 0; c < 3; c++) r[c] = p[c] + p[c + down + right] - p[c + right] - p[c + down];
            add_products(r, parts);
            continue;
        }
        if (x + order + 1 < W) {
            for (int c = 0; c < 3; c++)
                r[c] = order ? p[c] - 2 * p[c + right] + p[c + 2 * right] : p[c + right] - p[c];
            add_products(r, parts);
        }
        if (y + order + 1 < H) {
            for (int c = 0; c < 3; c++) r[c] = order ? p[c] - 2 * p[c + down] + p[c + 2 * down] : p[c + down] - p[c];
            add_products(r, parts);
        }
    }
    add_up(parts, sums + ((i64)blockIdx.y * 3 + order) * 6);
}
