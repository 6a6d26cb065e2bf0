// Noise: whole sums of the mixed second difference of 8-bit pixels, and real sums over a residual in a fixed order.

#define DIAGONALS 511  // 0 .. 510
#define MEANS 3        // of r, r^2 and luma
#define PARTS 12

// I * N of one colour at the pixel in the middle, N = (1, -2, 1)^T (1, -2, 1).
__device__ __forceinline__ int mask_at(const u8* p, int W) {
    const u8 *a = p - 3 * W, *b = p + 3 * W;
    return (a[-3] - 2 * a[0] + a[3]) - 2 * (p[-3] - 2 * p[0] + p[3]) + (b[-3] - 2 * b[0] + b[3]);
}

// Sums of |I * N| of red, green, blue and luma, of luma's over dark, middle and bright pixels, and those pixels.
extern "C" __global__ void mask_magnitudes(
    const u8* __restrict__ rgb8, int dark, int bright, int H, int W, i64* __restrict__ sums) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int h = H - 2, w = W - 2;
    u64 parts[10] = {0};
    EACH(i, h * w) {
        const u8* p = image + ((i / w + 1) * W + i % w + 1) * 3;
        const int r = mask_at(p, W), g = mask_at(p + 1, W), b = mask_at(p + 2, W);
        const int level = distance(299 * r + 587 * g + 114 * b, 0), t = 299 * p[0] + 587 * p[1] + 114 * p[2];
        const bool is_dark = t < dark, is_bright = t >= bright, is_middle = !is_dark && !is_bright;
        parts[0] += distance(r, 0);
        parts[1] += distance(g, 0);
        parts[2] += distance(b, 0);
        parts[3] += level;
        parts[4] += is_dark ? level : 0;
        parts[5] += is_middle ? level : 0;
        parts[6] += is_bright ? level : 0;
        parts[7] += is_dark;
        parts[8] += is_middle;
        parts[9] += is_bright;
    }
    add_up(parts, sums + (i64)blockIdx.y * 10);
}

// Histogram of |a - b - c + d| of every 2 x 2 pixels; blockIdx.z is the colour.
extern "C" __global__ void diagonal_counts(const u8* __restrict__ rgb8, int H, int W, i64* __restrict__ counts) {
    __shared__ u32 tables[COPIES * DIAGONALS];
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3 + blockIdx.z;
    const int w = W - 1;
    clear(tables, DIAGONALS);
    u32* table = my_table(tables, DIAGONALS);
    EACH(i, (H - 1) * w) {
        const u8* p = image + (i / w * W + i % w) * 3;
        atomicAdd(&table[distance(p[0] + p[3 * W + 3], p[3] + p[3 * W])], 1u);
    }
    merge(tables, DIAGONALS, counts + ((i64)blockIdx.y * 3 + blockIdx.z) * DIAGONALS);
}

// Sums of a[p] b[p + d], a and b two masked colours; blockIdx.z counts the rows (a, b, down, right) of `terms`.
extern "C" __global__ void mask_products(
    const u8* __restrict__ rgb8, const int* __restrict__ terms, int H, int W, i64* __restrict__ sums) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int* term = terms + 4 * blockIdx.z;
    const int a = term[0], b = term[1], down = term[2], right = term[3], h = H - 2, w = W - 2;
    u64 parts[1] = {0};
    EACH(i, h * w) {
        const int y = i / w, x = i % w;
        if (y + down < 0 || y + down >= h || x + right < 0 || x + right >= w) continue;
        const u8* p = image + ((y + 1) * W + x + 1) * 3;
        parts[0] += (i64)(mask_at(p + a, W) * mask_at(p + (down * W + right) * 3 + b, W));
    }
    add_up(parts, sums + (i64)blockIdx.y * gridDim.z + blockIdx.z);
}

// The sums of a block go to its place among the parts of the image.
template <int N>
__device__ void keep(const double (&parts)[N], double* results) {
    for (int k = 0; k < N; k++) {
        const double sum = ordered_sum(parts[k]);
        if (threadIdx.x == 0) results[((i64)blockIdx.y * gridDim.x + blockIdx.x) * N + k] = sum;
    }
}

// Sums of r, r^2 and luma in thousandths.  How many blocks there are must depend on the size of the image only.
extern "C" __global__ void residual_totals(
    const float* __restrict__ residual, const float* __restrict__ luma, int n, double* __restrict__ parts) {
    const float *r = residual + (i64)blockIdx.y * n, *Y = luma + (i64)blockIdx.y * n;
    double sums[MEANS] = {0, 0, 0};
    EACH(i, n) {
        const double value = r[i];
        sums[0] += value;
        sums[1] += value * value;
        sums[2] += (double)rintf(Y[i] * 1000.0f);
    }
    keep(sums, parts);
}

// Add the parts of blocks, in their order, and divide: one thread for each sum of each image.
extern "C" __global__ void join_parts(
    const double* __restrict__ parts, int blocks, int count, int n, double divisor, double* __restrict__ results) {
    EACH(i, n) {
        const double* part = parts + (i64)(i / count) * blocks * count + i % count;
        double sum = 0;
        for (int k = 0; k < blocks; k++) sum += part[(i64)k * count];
        results[i] = sum / divisor;
    }
}

// Sums of (r - mean)^2, ^3, ^4; of squares of r^2 and of luma about their means, and of their product; of r^2 over
// dark, middle and bright pixels; how many are dark, bright, and 0.
extern "C" __global__ void residual_spreads(
    const float* __restrict__ residual, const float* __restrict__ luma, const double* __restrict__ means, int dark,
    int bright, int n, double* __restrict__ parts) {
    const float *r = residual + (i64)blockIdx.y * n, *Y = luma + (i64)blockIdx.y * n;
    const double mean = means[3 * blockIdx.y], mean_energy = means[3 * blockIdx.y + 1];
    const double mean_luma = means[3 * blockIdx.y + 2];
    double sums[PARTS] = {0};
    EACH(i, n) {
        const double value = r[i], level = rintf(Y[i] * 1000.0f), centred = value - mean, squared = centred * centred;
        const double energy = value * value, excess = energy - mean_energy, light = (level - mean_luma) * 0.001;
        const int kind = level < dark ? 0 : level >= bright ? 2 : 1;
        sums[0] += squared;
        sums[1] += squared * centred;
        sums[2] += squared * squared;
        sums[3] += excess * excess;
        sums[4] += light * light;
        sums[5] += excess * light;
        sums[6] += kind == 0 ? energy : 0.0;
        sums[7] += kind == 1 ? energy : 0.0;
        sums[8] += kind == 2 ? energy : 0.0;
        sums[9] += kind == 0;
        sums[10] += kind == 2;
        sums[11] += value == 0;
    }
    keep(sums, parts);
}

// Mean r^2 by row (blockIdx.x) and column modulo 8.  A block sums one row of the tile in one order.
extern "C" __global__ void residual_tile(const float* __restrict__ residual, int H, int W, double* __restrict__ tile) {
    __shared__ double sums[THREADS];
    const float* r = residual + (i64)blockIdx.y * H * W;
    const int rows = H / 8, width = W / 8 * 8;
    double sum = 0;
    for (int y = blockIdx.x; y < rows * 8; y += 8)
        SHARE(x, width) sum += (double)r[y * W + x] * r[y * W + x];
    sums[threadIdx.x] = sum;
    for (int half = blockDim.x / 2; half >= 8; half /= 2) {  // columns 8 apart belong together
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x < 8)
        tile[((i64)blockIdx.y * 8 + blockIdx.x) * 8 + threadIdx.x] = sums[threadIdx.x] / ((double)rows * (W / 8));
}
