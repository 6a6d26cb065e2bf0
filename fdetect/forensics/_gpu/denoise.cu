// Filters of luma: the median of 3 x 3 pixels, sums under separable weights, the residual of the Wiener filter.

#define RUN 4         // medians of one thread, one below the other: a sorted row of three serves three of them
#define RADIUS 48     // widest half of a separable filter
#define SEGMENT 256   // samples of a row that one block filters
#define TILE_X 32
#define TILE_Y 8
#define EDGE 2        // half of the widest Wiener window
#define TILE_W (TILE_X + 2 * EDGE)

__device__ __forceinline__ float low(float a, float b) { return fminf(a, b); }
__device__ __forceinline__ float high(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double low(double a, double b) { return fmin(a, b); }
__device__ __forceinline__ double high(double a, double b) { return fmax(a, b); }
__device__ __forceinline__ u8 low(u8 a, u8 b) { return a < b ? a : b; }
__device__ __forceinline__ u8 high(u8 a, u8 b) { return a < b ? b : a; }

template <class T>
__device__ __forceinline__ T median_of_three(T a, T b, T c) {
    return high(low(a, b), low(high(a, b), c));
}

template <class T>
__device__ void sorted_row(const T* image, int y, int x, int H, int W, T (&row)[3]) {
    const T* line = image + (i64)limit(y, 0, H - 1) * W;
    const T a = line[limit(x - 1, 0, W - 1)], b = line[x], c = line[limit(x + 1, 0, W - 1)];
    const T least = low(a, b), most = high(a, b), over = high(least, c);
    row[0] = low(least, c);
    row[1] = low(over, most);
    row[2] = high(over, most);
}

// The median of nine is that of the largest low, the median middle and the smallest high of its sorted rows.
template <class T>
__device__ void medians(const T* images, int H, int W, T* results) {
    const T* image = images + (i64)blockIdx.y * H * W;
    T* result = results + (i64)blockIdx.y * H * W;
    EACH(i, (H + RUN - 1) / RUN * W) {
        const int x = i % W, top = i / W * RUN;
        T rows[3][3];
        sorted_row(image, top - 1, x, H, W, rows[0]);
        sorted_row(image, top, x, H, W, rows[1]);
#pragma unroll
        for (int k = 0; k < RUN; k++) {
            const int y = top + k;
            if (y >= H) break;
            T(&a)[3] = rows[k % 3], (&b)[3] = rows[(k + 1) % 3], (&c)[3] = rows[(k + 2) % 3];
            sorted_row(image, y + 1, x, H, W, c);
            const T lows = high(high(a[0], b[0]), c[0]), highs = low(low(a[2], b[2]), c[2]);
            result[(i64)y * W + x] = median_of_three(lows, median_of_three(a[1], b[1], c[1]), highs);
        }
    }
}

extern "C" __global__ void median3x3_uint8(const u8* __restrict__ images, int H, int W, u8* __restrict__ results) {
    medians(images, H, W, results);
}

extern "C" __global__ void median3x3_float32(
    const float* __restrict__ images, int H, int W, float* __restrict__ results) {
    medians(images, H, W, results);
}

extern "C" __global__ void median3x3_float64(
    const double* __restrict__ images, int H, int W, double* __restrict__ results) {
    medians(images, H, W, results);
}

// Down first, then across, terms in the order of the Numba twin: the same result where the sums are not exact, too.
extern "C" __global__ void separable_sums(
    const double* __restrict__ images, const double* __restrict__ weights, int radius, int H, int W,
    double* __restrict__ results) {
    __shared__ double row[SEGMENT + 2 * RADIUS], weight[RADIUS + 1];
    const double* image = images + (i64)blockIdx.y * H * W;
    double* result = results + (i64)blockIdx.y * H * W;
    const int segments = (W + SEGMENT - 1) / SEGMENT;
    SHARE(k, radius + 1) weight[k] = weights[k];
    __syncthreads();
    for (int unit = blockIdx.x; unit < segments * H; unit += gridDim.x) {
        const int y = unit / segments, left = unit % segments * SEGMENT;
        SHARE(i, SEGMENT + 2 * radius) {
            const double* column = image + limit(left + i - radius, 0, W - 1);
            double sum = weight[radius] * column[(i64)y * W];
            for (int k = 0; k < radius; k++) {
                const int above = limit(y - radius + k, 0, H - 1), below = limit(y + radius - k, 0, H - 1);
                sum += weight[k] * (column[(i64)above * W] + column[(i64)below * W]);
            }
            row[i] = sum;
        }
        __syncthreads();
        SHARE(i, SEGMENT) if (left + i < W) {
            double sum = weight[radius] * row[i + radius];
            for (int k = 0; k < radius; k++) sum += weight[k] * (row[i + k] + row[i + 2 * radius - k]);
            result[(i64)y * W + left + i] = sum;
        }
        __syncthreads();
    }
}

// Thousandths of luma of a tile and the EDGE pixels around it, the nearest pixel beyond the border.
__device__ void load_tile(const float* image, int H, int W, int top, int left, int* tile) {
    SHARE(i, TILE_W * (TILE_Y + 2 * EDGE)) {
        const int y = limit(top + i / TILE_W - EDGE, 0, H - 1), x = limit(left + i % TILE_W - EDGE, 0, W - 1);
        tile[i] = (int)rint((double)image[y * W + x] * 1000.0);
    }
}

// Sum of the K x K window, and its variance times K^4; both are whole numbers.
__device__ __forceinline__ int window(const int* tile, int at, int side, i64& variance) {
    int sum = 0;
    i64 squares = 0;
    for (int i = -(side / 2); i <= side / 2; i++)
        for (int j = -(side / 2); j <= side / 2; j++) {
            const int sample = tile[at + i * TILE_W + j];
            sum += sample;
            squares += (i64)sample * sample;
        }
    variance = squares * (side * side) - (i64)sum * sum;
    return sum;
}

// Sum of the variances of an image, mod 2^32 and div 2^32.
extern "C" __global__ void wiener_noise(
    const float* __restrict__ images, int side, int H, int W, i64* __restrict__ totals) {
    __shared__ int tile[TILE_W * (TILE_Y + 2 * EDGE)];
    const float* image = images + (i64)blockIdx.y * H * W;
    const int across = (W + TILE_X - 1) / TILE_X, tiles = across * ((H + TILE_Y - 1) / TILE_Y);
    u64 parts[2] = {0, 0};
    for (int unit = blockIdx.x; unit < tiles; unit += gridDim.x) {
        const int top = unit / across * TILE_Y, left = unit % across * TILE_X;
        load_tile(image, H, W, top, left, tile);
        __syncthreads();
        SHARE(i, TILE_X * TILE_Y) {
            const int row = i / TILE_X, column = i % TILE_X;
            if (top + row < H && left + column < W) {
                i64 variance;
                window(tile, (row + EDGE) * TILE_W + column + EDGE, side, variance);
                parts[0] += (u64)variance & 0xffffffffu;
                parts[1] += (u64)variance >> 32;
            }
        }
        __syncthreads();
    }
    add_up(parts, totals + (i64)blockIdx.y * 2);
}

// (Y - m) n / max(v, n): the windows are summed a second time, which costs less than to write and read them.
extern "C" __global__ void wiener_residual(
    const float* __restrict__ images, const i64* __restrict__ totals, int side, int H, int W,
    float* __restrict__ results) {
    __shared__ int tile[TILE_W * (TILE_Y + 2 * EDGE)];
    const float* image = images + (i64)blockIdx.y * H * W;
    float* result = results + (i64)blockIdx.y * H * W;
    const i64* total = totals + (i64)blockIdx.y * 2;
    const double count = side * side;
    const double noise = ((double)total[1] * 4294967296.0 + (double)total[0]) / ((double)H * W);
    const double least = fmax(noise, 1.0), scale = noise / (1000.0 * count);
    const int across = (W + TILE_X - 1) / TILE_X, tiles = across * ((H + TILE_Y - 1) / TILE_Y);
    for (int unit = blockIdx.x; unit < tiles; unit += gridDim.x) {
        const int top = unit / across * TILE_Y, left = unit % across * TILE_X;
        load_tile(image, H, W, top, left, tile);
        __syncthreads();
        SHARE(i, TILE_X * TILE_Y) {
            const int y = top + i / TILE_X, x = left + i % TILE_X;
            if (y < H && x < W) {
                const int at = (i / TILE_X + EDGE) * TILE_W + i % TILE_X + EDGE;
                i64 variance;
                const int sum = window(tile, at, side, variance);
                const double deviation = tile[at] * count - sum;
                result[(i64)y * W + x] = (float)(deviation * (scale / fmax((double)variance, least)));
            }
        }
        __syncthreads();
    }
}
