// Wavelet transforms and statistics of bands.  Terms are added in the order of the Numba twins.

#define TAPS 16  // of the longest filter
#define SUMS 7

// One band of one plane: filters to the right, then down.
extern "C" __global__ void wavelet_band(
    const float* __restrict__ planes, const double* __restrict__ along_y, const double* __restrict__ along_x, int F,
    int H, int W, int h, int w, float* __restrict__ results) {
    const float* plane = planes + (i64)blockIdx.y * H * W;
    EACH(i, h * w) {
        const int k = i / w, l = i % w;
        double total = 0;
        for (int j = 0; j < F; j++) {
            if (along_y[j] == 0) continue;
            const float* row = plane + (i64)mirror(2 * k + 1 - j, H) * W;
            double sum = 0;
            for (int m = 0; m < F; m++)
                if (along_x[m] != 0) sum += along_x[m] * row[mirror(2 * l + 1 - m, W)];
            total += along_y[j] * sum;
        }
        results[(i64)blockIdx.y * h * w + i] = (float)total;
    }
}

// One level: the smooth band (B, h, w) and the details lh, hl, hh (B, 3, h, w).
extern "C" __global__ void analyse(
    const double* __restrict__ samples, const double* __restrict__ low, const double* __restrict__ high, int F, int H,
    int W, int h, int w, double* __restrict__ smooth, double* __restrict__ details) {
    const double* image = samples + (i64)blockIdx.y * H * W;
    EACH(i, h * w) {
        const int k = i / w, l = i % w;
        int columns[TAPS];
        for (int m = 0; m < F; m++) columns[m] = mirror(2 * l + 1 - m, W);
        double bands[2][2] = {{0, 0}, {0, 0}};  // [low or high to the right][low or high down]
        for (int j = 0; j < F; j += 2) {
            double along[2][2];  // [low or high][tap j or j + 1]
            for (int tap = 0; tap < 2; tap++) {
                const double* row = image + (i64)mirror(2 * k + 1 - j - tap, H) * W;
                along[0][tap] = along[1][tap] = 0;
                for (int m = 0; m < F; m += 2) {
                    const double odd = row[columns[m]], even = row[columns[m + 1]];
                    along[0][tap] += low[m] * odd + low[m + 1] * even;
                    along[1][tap] += high[m] * odd + high[m + 1] * even;
                }
            }
            for (int side = 0; side < 2; side++) {
                bands[side][0] += low[j] * along[side][0] + low[j + 1] * along[side][1];
                bands[side][1] += high[j] * along[side][0] + high[j + 1] * along[side][1];
            }
        }
        double* detail = details + (i64)blockIdx.y * 3 * h * w;
        smooth[(i64)blockIdx.y * h * w + i] = bands[0][0];
        detail[i] = bands[0][1];
        detail[(i64)h * w + i] = bands[1][0];
        detail[2 * (i64)h * w + i] = bands[1][1];
    }
}

// Leave of a band (blockIdx.y counts all of them) what is noise: the least local variance of windows of 3, 5, 7, 9.
extern "C" __global__ void shrink(
    const double* __restrict__ bands, double noise, int h, int w, double* __restrict__ results) {
    const double* band = bands + (i64)blockIdx.y * h * w;
    EACH(i, h * w) {
        const int y = i / w, x = i % w;
        double columns[9], least = 0;
#pragma unroll
        for (int j = 0; j < 9; j++) {
            const double here = band[(i64)y * w + mirror(x + j - 4, w)];
            columns[j] = here * here;
        }
#pragma unroll
        for (int r = 1; r <= 4; r++) {
            const double *above = band + (i64)mirror(y - r, h) * w, *below = band + (i64)mirror(y + r, h) * w;
#pragma unroll
            for (int j = 0; j < 9; j++) {
                const int place = mirror(x + j - 4, w);
                columns[j] += above[place] * above[place];
                columns[j] += below[place] * below[place];
            }
            double sum = 0;
#pragma unroll
            for (int j = 4 - r; j <= 4 + r; j++) sum += columns[j];
            const double mean = sum * (1.0 / ((2 * r + 1) * (2 * r + 1)));
            least = r == 1 ? mean : fmin(least, mean);
        }
        results[(i64)blockIdx.y * h * w + i] = band[i] * (noise / (fmax(least - noise, 0.0) + noise));
    }
}

// Undo one level; inverse is (2, F): low-pass, high-pass.
extern "C" __global__ void synthesise(
    const double* __restrict__ smooth, const double* __restrict__ details, const double* __restrict__ inverse, int F,
    int h, int w, int H, int W, double* __restrict__ results) {
    const double *ll = smooth + (i64)blockIdx.y * h * w, *lh = details + (i64)blockIdx.y * 3 * h * w;
    const double *hl = lh + (i64)h * w, *hh = hl + (i64)h * w;
    const int half = F / 2;
    EACH(i, H * W) {
        const int y = i / W, x = i % W;
        double total = 0;
        for (int t = 0; t < half; t++) {
            const int column = x / 2 + half - 1 - t, tap = 2 * t + x % 2;
            double low = 0, high = 0;
            for (int s = 0; s < half; s++) {
                const int place = (y / 2 + half - 1 - s) * w + column;
                const double a = inverse[2 * s + y % 2], b = inverse[F + 2 * s + y % 2];
                low += a * ll[place] + b * lh[place];
                high += a * hl[place] + b * hh[place];
            }
            total += inverse[tap] * low + inverse[F + tap] * high;
        }
        results[(i64)blockIdx.y * H * W + i] = total;
    }
}

// R + 2 G + B.
extern "C" __global__ void grey(const u8* __restrict__ rgb8, int n, int* __restrict__ results) {
    EACH(i, n) {
        const u8* p = rgb8 + ((i64)blockIdx.y * n + i) * 3;
        results[(i64)blockIdx.y * n + i] = p[0] + 2 * p[1] + p[2];
    }
}

__device__ __forceinline__ int low5(int a, int b, int c, int d, int e) {
    return 2 * (b + d) + 6 * c - a - e;
}

__device__ __forceinline__ int high3(int a, int b, int c) {
    return a - 2 * b + c;
}

// Bands ll, lh, hl, hh of whole numbers under 5/3 filters, without a border: (B, H, W) -> (B, 4, h, w).
extern "C" __global__ void split(
    const int* __restrict__ images, int H, int W, int h, int w, int stride, int* __restrict__ bands) {
    const int* image = images + (i64)blockIdx.y * stride;
    int* result = bands + (i64)blockIdx.y * 4 * h * w;
    EACH(i, h * w) {
        const int k = i / w, l = i % w;
        int low[5], high[5];
#pragma unroll
        for (int j = 0; j < 5; j++) {
            const int* p = image + (2 * k + j) * W + 2 * l;
            low[j] = low5(p[0], p[1], p[2], p[3], p[4]);
            high[j] = high3(p[0], p[1], p[2]);
        }
        result[i] = low5(low[0], low[1], low[2], low[3], low[4]);
        result[h * w + i] = high3(low[0], low[1], low[2]);
        result[2 * h * w + i] = low5(high[0], high[1], high[2], high[3], high[4]);
        result[3 * h * w + i] = high3(high[0], high[1], high[2]);
    }
}

// Sums of m = |band| and about its mean; one block for each detail band (blockIdx.x), always in one order.
extern "C" __global__ void band_sums(
    const int* __restrict__ bands, int h, int w, int level, double* __restrict__ results) {
    const int n = h * w;
    const int* band = bands + ((i64)blockIdx.y * 4 + 1 + blockIdx.x) * n;
    const int* following = bands + ((i64)blockIdx.y * 4 + 1 + (blockIdx.x + 1) % 3) * n;
    double first = 0, second = 0, fourth = 0, next = 0;
    SHARE(i, n) {
        const double m = distance(band[i], 0);
        first += m;
        second += m * m;
        fourth += m * m * m * m;
        next += distance(following[i], 0);
    }
    first = ordered_sum(first);
    second = ordered_sum(second);
    fourth = ordered_sum(fourth);
    next = ordered_sum(next);
    const double mean = first / n, next_mean = next / n;
    double own = 0, right = 0, down = 0, other = 0;
    SHARE(i, n) {
        const double here = distance(band[i], 0) - mean;
        own += here * here;
        other += here * (distance(following[i], 0) - next_mean);
        if (i % w + 1 < w) right += here * (distance(band[i + 1], 0) - mean);
        if (i >= w) down += here * (distance(band[i - w], 0) - mean);
    }
    own = ordered_sum(own);
    right = ordered_sum(right);
    down = ordered_sum(down);
    other = ordered_sum(other);
    if (threadIdx.x) return;
    const double sums[SUMS] = {first, second, fourth, own, right, down, other};
    double* result = results + (((i64)blockIdx.y * 2 + level) * 3 + blockIdx.x) * SUMS;
    for (int k = 0; k < SUMS; k++) result[k] = sums[k];
}
