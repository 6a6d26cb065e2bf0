// Textures: local binary patterns, diversity and residuals of patches, as whole numbers.

#define CELL 16                // the longest side of a cell
#define LUMA_W (CELL + 3)      // residuals of a cell and of the next row and column take one pixel more on each side
#define NEAR_W (CELL + 1)

// Codes of the square ring; blockIdx.z = colour * number of radii + radius.
extern "C" __global__ void lbp_counts(
    const u8* __restrict__ rgb8, const int* __restrict__ radii, int number, int H, int W, i64* __restrict__ counts) {
    __shared__ u32 tables[COPIES * 256];
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3 + blockIdx.z / number;
    const int r = radii[blockIdx.z % number], h = H - 2 * r, w = W - 2 * r;
    clear(tables, 256);
    u32* table = my_table(tables, 256);
    if (h > 0 && w > 0) EACH(i, h * w) {
        const u8* p = image + ((i / w + r) * W + i % w + r) * 3;
        const int down = 3 * W * r, right = 3 * r, m = p[0];
        const int code = (p[right] >= m) | (p[right - down] >= m) << 1 | (p[-down] >= m) << 2 |
                         (p[-down - right] >= m) << 3 | (p[-right] >= m) << 4 | (p[down - right] >= m) << 5 |
                         (p[down] >= m) << 6 | (p[down + right] >= m) << 7;
        atomicAdd(&table[code], 1u);
    }
    merge(tables, 256, counts + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * 256);
}

// Distances right, down and along both diagonals between pixels of one patch of 2 x 2 cells, by one warp.
extern "C" __global__ void patch_diversity(
    const u8* __restrict__ rgb8, int cell, int H, int W, i64* __restrict__ diversity) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int columns = W / cell - 1, patches = (H / cell - 1) * columns, side = 2 * cell, lane = threadIdx.x % 32;
    const int warps = gridDim.x * blockDim.x / 32;
    for (int patch = (blockIdx.x * blockDim.x + threadIdx.x) / 32; patch < patches; patch += warps) {
        const u8* corner = image + (patch / columns * cell * W + patch % columns * cell) * 3;
        u32 total = 0;
        for (int i = lane; i < side * side; i += 32) {
            const int y = i / side, x = i % side;
            for (int c = 0; c < 3; c++) {
                const u8* p = corner + (y * W + x) * 3 + c;
                if (x + 1 < side) total += distance(p[0], p[3]);
                if (y + 1 < side) {
                    total += distance(p[0], p[3 * W]);
                    if (x + 1 < side) total += distance(p[0], p[3 * W + 3]) + distance(p[3], p[3 * W]);
                }
            }
        }
        const u64 sum = warp_sum(total);
        if (lane == 0) diversity[(i64)blockIdx.y * patches + patch] = sum;
    }
}

// Sums of a cell, which is one block: magnitudes, edges reached, pairs of opposite sign, for the kernels first (right,
// down), second (horizontal, vertical) and square.  The outermost pixels of the image have no residuals.
extern "C" __global__ void patch_residuals(
    const u8* __restrict__ rgb8, int cell, const int* __restrict__ edges, int H, int W, i64* __restrict__ sums) {
    __shared__ int luma[LUMA_W * LUMA_W], residuals[5][NEAR_W * NEAR_W];
    const int columns = W / cell, rows = H / cell, height = rows * cell, width = columns * cell;
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int top = blockIdx.x / columns * cell, left = blockIdx.x % columns * cell;
    SHARE(i, LUMA_W * LUMA_W) {
        const int y = limit(top + i / LUMA_W - 1, 0, height - 1), x = limit(left + i % LUMA_W - 1, 0, width - 1);
        const u8* p = image + (y * W + x) * 3;
        luma[i] = 299 * p[0] + 587 * p[1] + 114 * p[2];
    }
    __syncthreads();
    SHARE(i, NEAR_W * NEAR_W) {
        const int* p = luma + (i / NEAR_W + 1) * LUMA_W + i % NEAR_W + 1;
        const int *a = p - LUMA_W, *b = p + LUMA_W;
        residuals[0][i] = p[1] - p[0];
        residuals[1][i] = b[0] - p[0];
        residuals[2][i] = p[-1] + p[1] - 2 * p[0];
        residuals[3][i] = a[0] + b[0] - 2 * p[0];
        residuals[4][i] = (a[-1] + a[1] - 2 * a[0]) + (b[-1] + b[1] - 2 * b[0]) - 2 * (p[-1] + p[1] - 2 * p[0]);
    }
    __syncthreads();
    u32 parts[24] = {0};  // 512 magnitudes of at most 16 x 255000 stay below 2^32
    SHARE(i, cell * cell) {
        const int row = i / cell, column = i % cell, y = top + row, x = left + column, at = row * NEAR_W + column;
        if (y < 1 || y >= height - 1 || x < 1 || x >= width - 1) continue;
#pragma unroll
        for (int d = 0; d < 5; d++) {
            const int r = residuals[d][at], magnitude = distance(r, 0);
            u32* part = parts + 8 * (d / 2);
            part[0] += magnitude;
#pragma unroll
            for (int m = 0; m < 6; m++) part[1 + m] += magnitude >= edges[m] << (d / 2);
            const int right = x < width - 2 ? residuals[d][at + 1] : 0;
            const int below = y < height - 2 ? residuals[d][at + NEAR_W] : 0;
            part[7] += ((r > 0 && right < 0) || (r < 0 && right > 0)) + ((r > 0 && below < 0) || (r < 0 && below > 0));
        }
    }
    u64 totals[24];
#pragma unroll
    for (int k = 0; k < 24; k++) totals[k] = parts[k];
    add_up(totals, sums + ((i64)blockIdx.y * gridDim.x + blockIdx.x) * 24);
}
