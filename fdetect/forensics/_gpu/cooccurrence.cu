// Co-occurrences: whole-number counts of pairs of stored pixels.

// 65536 bins do not fit into the shared memory of every card.  Lanes of a warp that hold the same pair add once.
extern "C" __global__ void cooccurrence_counts(
    const u8* __restrict__ first, const u8* __restrict__ second, int first_row, int first_column, int second_row,
    int second_column, int rows, int columns, u32* __restrict__ counts) {
    const int n = rows * columns;
    for (int i = blockIdx.x * blockDim.x; i < n; i += gridDim.x * blockDim.x) {
        const int k = i + threadIdx.x, y = k / columns, x = k % columns;
        u32 code = 65536;  // no pair
        if (k < n)
            code = 256 * first[(i64)y * first_row + (i64)x * first_column] +
                   second[(i64)y * second_row + (i64)x * second_column];
        const u32 same = __match_any_sync(ALL_LANES, code);
        if (code < 65536 && threadIdx.x % 32 == __ffs(same) - 1) atomicAdd(&counts[code], (u32)__popc(same));
    }
}

// Pairs of one colour (blockIdx.z) by the band of their mean and the bin of their difference.
extern "C" __global__ void level_difference_counts(
    const u8* __restrict__ rgb8, int dy, int dx, const int* __restrict__ edges, int H, int W,
    i64* __restrict__ counts) {
    __shared__ u32 tables[COPIES * 64];
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3 + blockIdx.z;
    const int w = W - dx;
    clear(tables, 64);
    u32* table = my_table(tables, 64);
    EACH(i, (H - dy) * w) {
        const int y = i / w, x = i % w;
        const int p = image[(y * W + x) * 3], q = image[((y + dy) * W + x + dx) * 3], d = distance(p, q);
        int steps = 0;
        for (int k = 0; k < 7; k++) steps += d >= edges[k];
        atomicAdd(&table[(p + q) / 64 * 8 + steps], 1u);
    }
    merge(tables, 64, counts + ((i64)blockIdx.y * 3 + blockIdx.z) * 64);
}

// 3 + the signed number of edges that b - a reaches.
__device__ __forceinline__ int digit(const u8* a, const u8* b, int e1, int e2, int e3) {
    const int d = *b - *a;
    return 3 + (d >= e1) + (d >= e2) + (d >= e3) - (d <= -e1) - (d <= -e2) - (d <= -e3);
}

// Digits of differences to the right (blockIdx.z = 0) or down: of the three colours at p, and of one colour at the
// pixel up and left of p and at p.
extern "C" __global__ void cross_band_counts(
    const u8* __restrict__ rgb8, const int* __restrict__ edges, int H, int W, i64* __restrict__ triples,
    i64* __restrict__ pairs) {
    __shared__ u32 tables[COPIES * (343 + 147)];
    u32* pair_tables = tables + COPIES * 343;
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int w = blockIdx.z ? W : W - 1, h = blockIdx.z ? H - 1 : H, step = blockIdx.z ? 3 * W : 3;
    const int e1 = edges[0], e2 = edges[1], e3 = edges[2];
    clear(tables, 343 + 147);
    u32 *table = my_table(tables, 343), *pair_table = my_table(pair_tables, 147);
    EACH(i, h * w) {
        const int y = i / w, x = i % w;
        const u8* p = image + (y * W + x) * 3;
        int code = 0;
        for (int c = 0; c < 3; c++) {
            const int here = digit(p + c, p + c + step, e1, e2, e3);
            code = 7 * code + here;
            if (y > 0 && x > 0) {
                const u8* before = p + c - 3 * W - 3;
                atomicAdd(&pair_table[49 * c + 7 * digit(before, before + step, e1, e2, e3) + here], 1u);
            }
        }
        atomicAdd(&table[code], 1u);
    }
    merge(tables, 343, triples + (i64)blockIdx.y * 343);
    merge(pair_tables, 147, pairs + (i64)blockIdx.y * 147);
}
