// Neighbouring pixels: the NPR map, its statistics, sums of gradients and of products of the mixed difference.

#define DIFFERENCES 511  // -255 .. 255

template <class T>
__device__ void nearest_residual(const T* planes, int factor, int H, int W, int h, int w, T* results) {
    const T* plane = planes + (i64)blockIdx.y * H * W;
    T* result = results + (i64)blockIdx.y * h * w;
    EACH(i, h * w) {
        const int y = i / w, x = i % w;
        result[i] = plane[y * W + x] - plane[(y - y % factor) * W + x - x % factor];
    }
}

extern "C" __global__ void npr_float32(
    const float* __restrict__ planes, int factor, int H, int W, int h, int w, float* __restrict__ results) {
    nearest_residual(planes, factor, H, W, h, w, results);
}

extern "C" __global__ void npr_float64(
    const double* __restrict__ planes, int factor, int H, int W, int h, int w, double* __restrict__ results) {
    nearest_residual(planes, factor, H, W, h, w, results);
}

// Histogram of the differences to the corner of the cell, by group of places (blockIdx.z) and colour.
extern "C" __global__ void npr_counts(
    const u8* __restrict__ rgb8, int factor, const int* __restrict__ places, const int* __restrict__ starts, int H,
    int W, i64* __restrict__ counts) {
    __shared__ u32 tables[COPIES * 3 * DIFFERENCES];
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int columns = W / factor, cells = H / factor * columns;
    const int first = starts[blockIdx.z], size = starts[blockIdx.z + 1] - first;
    clear(tables, 3 * DIFFERENCES);
    u32* table = my_table(tables, 3 * DIFFERENCES);
    EACH(k, cells * size) {  // neighbouring threads take neighbouring cells
        const int place = first + k / cells, cell = k % cells;
        const int y = cell / columns * factor, x = cell % columns * factor;
        const u8* corner = image + (y * W + x) * 3;
        const u8* sample = corner + (places[2 * place] * W + places[2 * place + 1]) * 3;
        for (int c = 0; c < 3; c++) atomicAdd(&table[c * DIFFERENCES + 255 + sample[c] - corner[c]], 1u);
    }
    merge(tables, 3 * DIFFERENCES, counts + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * 3 * DIFFERENCES);
}

// Whole-number sum over a block, known to all its threads.
__device__ i64 shared_sum(i64 value) {
    __shared__ u64 total;
    __syncthreads();
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    const u64 sum = warp_sum(value);
    if (threadIdx.x % 32 == 0) atomicAdd(&total, sum);
    __syncthreads();
    return total;
}

// Mean |d|, standard deviation, excess kurtosis and share of zeros; one block for each image, group and colour.
extern "C" __global__ void npr_moments(
    const i64* __restrict__ counts, const int* __restrict__ starts, int cells, float* __restrict__ results) {
    const int groups = gridDim.x, g = blockIdx.x, c = blockIdx.z;
    const i64* histogram = counts + (((i64)blockIdx.y * groups + g) * 3 + c) * DIFFERENCES;
    const i64 n = (i64)cells * (starts[g + 1] - starts[g]);
    i64 total = 0, magnitude = 0;
    SHARE(v, DIFFERENCES) {
        total += histogram[v] * (v - 255);
        magnitude += histogram[v] * distance(v, 255);
    }
    total = shared_sum(total);
    magnitude = shared_sum(magnitude);
    const i64 twice = 2 * total + n;  // the whole number nearest to the mean, halves up: about it nothing cancels
    const i64 centre = twice >= 0 ? twice / (2 * n) : -((2 * n - 1 - twice) / (2 * n));
    i64 first = 0, second = 0, third = 0, fourth = 0;
    SHARE(v, DIFFERENCES) {
        const i64 d = v - 255 - centre, count = histogram[v];
        first += count * d;
        second += count * d * d;
        third += count * d * d * d;
        fourth += count * d * d * d * d;
    }
    first = shared_sum(first);
    second = shared_sum(second);
    third = shared_sum(third);
    fourth = shared_sum(fourth);
    if (threadIdx.x) return;
    const double size = (double)n, shift = first / size, square = shift * shift, variance = second / size - square;
    double kurtosis = 0;
    if (variance > 0) {
        const double central =
            fourth / size - 4 * shift * third / size + 6 * square * second / size - 3 * (square * square);
        kurtosis = central / (variance * variance) - 3;
    }
    float* result = results + (((i64)blockIdx.y * 3 + c) * groups + g) * 4;
    result[0] = (float)(magnitude / size);
    result[1] = (float)sqrt(variance);
    result[2] = (float)kurtosis;
    result[3] = (float)(histogram[255] / size);
}

// One thread takes quads of 2 x 2 pixels, so that each of its sums belongs to one parity of (y, x); blockIdx.z is the
// colour.  Partial sums of 32 bits hold 66000 quads of one thread, images of 60 million pixels by a single block.
extern "C" __global__ void gradient_sums(const u8* __restrict__ rgb8, int H, int W, i64* __restrict__ sums) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3 + blockIdx.z;
    const int across = (W + 1) / 2;
    u32 absolute[4] = {0}, zeros[4] = {0}, squares[4][4] = {{0}};
    u64 fourths[4] = {0};
    EACH(quad, across * ((H + 1) / 2)) {
        const int top = quad / across * 2, left = quad % across * 2;
        int s[3][3];
#pragma unroll
        for (int i = 0; i < 3; i++)
#pragma unroll
            for (int j = 0; j < 3; j++) s[i][j] = image[(limit(top + i, 0, H - 1) * W + limit(left + j, 0, W - 1)) * 3];
#pragma unroll
        for (int phase = 0; phase < 4; phase++) {
            const int i = phase / 2, j = phase % 2;
            const bool here = top + i < H && left + j < W, right = left + j + 1 < W, below = top + i + 1 < H;
            const int d[4] = {
                distance(s[i][j + 1], s[i][j]), distance(s[i + 1][j], s[i][j]), distance(s[i + 1][j + 1], s[i][j]),
                distance(s[i + 1][j], s[i][j + 1])};
            const bool exists[4] = {here && right, here && below, here && right && below, here && right && below};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const u32 magnitude = exists[k] ? d[k] : 0, square = magnitude * magnitude;
                absolute[k] += magnitude;
                squares[k][phase] += square;
                fourths[k] += square * square;  // 255^4 < 2^32
                zeros[k] += exists[k] && d[k] == 0;
            }
        }
    }
    u64 parts[32];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        parts[8 * k] = absolute[k];
        parts[8 * k + 1] = (u64)squares[k][0] + squares[k][1] + squares[k][2] + squares[k][3];
        parts[8 * k + 2] = fourths[k];
        parts[8 * k + 3] = zeros[k];
#pragma unroll
        for (int phase = 0; phase < 4; phase++) parts[8 * k + 4 + phase] = squares[k][phase];
    }
    add_up(parts, sums + ((i64)blockIdx.y * 3 + blockIdx.z) * 32);
}

// Mixed difference at p; bytes come from the first-level cache, a tile in shared memory would save nothing.
__device__ __forceinline__ int mixed(const u8* p, int W) {
    return p[0] + p[3 * W + 3] - p[3] - p[3 * W];
}

// Sums of r(p) r(q), r(p)^2, r(q)^2; blockIdx.z = colour (L + 1) + lag, and the last "lag" is the next colour.
extern "C" __global__ void correlation_sums(
    const u8* __restrict__ rgb8, const int* __restrict__ lags, int L, int H, int W, i64* __restrict__ sums) {
    const int h = H - 1, w = W - 1, colour = blockIdx.z / (L + 1), lag = blockIdx.z % (L + 1);
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int dy = lag < L ? lags[2 * lag] : 0, dx = lag < L ? lags[2 * lag + 1] : 0;
    const int other = lag < L ? colour : (colour + 1) % 3;
    u64 parts[3] = {0, 0, 0};
    EACH(i, h * w) {
        const int y = i / w, x = i % w;
        if (y + dy < h && x + dx >= 0 && x + dx < w) {
            const int a = mixed(image + (y * W + x) * 3 + colour, W);
            const int b = mixed(image + ((y + dy) * W + x + dx) * 3 + other, W);
            parts[0] += (i64)(a * b);
            parts[1] += a * a;
            parts[2] += b * b;
        }
    }
    add_up(parts, sums + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * 3);
}
