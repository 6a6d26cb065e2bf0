// Residuals straight to statistics: a tile of whole luma is kept in shared memory and read by every mask.

#define TILE_X 64
#define TILE_Y 16
#define MORE 3    // a tuple takes three more residuals to the right or below
#define REACH 4   // a mask of 5 x 5 takes four more pixels
#define LEVELS_X (TILE_X + MORE)
#define LEVELS_Y (TILE_Y + MORE)
#define PLANE_X (LEVELS_X + REACH)
#define PLANE_Y (LEVELS_Y + REACH)
#define TAPS 128
#define TUPLES 625

// Taps of all directions: place in the tile and coefficient.
__device__ void load_taps(const int* taps, int count, int* offsets, int* factors) {
    SHARE(t, count) {
        offsets[t] = taps[3 * t] * PLANE_X + taps[3 * t + 1];
        factors[t] = taps[3 * t + 2];
    }
}

// Pixels in whole numbers of 1/units; beyond the image the nearest one, which no residual that counts will read.
__device__ void load_plane(const float* image, int H, int W, int top, int left, float units, int* plane) {
    SHARE(i, PLANE_X * PLANE_Y) {
        const int y = limit(top + i / PLANE_X, 0, H - 1), x = limit(left + i % PLANE_X, 0, W - 1);
        plane[i] = (int)floorf(image[y * W + x] * units + 0.5f);
    }
}

__device__ __forceinline__ int residual(const int* plane, const int* offsets, const int* factors, int start, int stop) {
    int sum = 0;
    for (int t = start; t < stop; t++) sum += factors[t] * plane[offsets[t]];
    return sum;
}

// Histogram of the 4-tuples of five levels, right and down, of all directions; edges are the four thresholds.
extern "C" __global__ void residual_counts(
    const float* __restrict__ images, const int* __restrict__ taps, const int* __restrict__ starts, int directions,
    int side, const int* __restrict__ edges, float units, int H, int W, i64* __restrict__ counts) {
    __shared__ int plane[PLANE_X * PLANE_Y];
    __shared__ u8 levels[LEVELS_X * LEVELS_Y];
    __shared__ u32 tables[COPIES * TUPLES];
    __shared__ int offsets[TAPS], factors[TAPS];
    const float* image = images + (i64)blockIdx.y * H * W;
    const int h = H - side + 1, w = W - side + 1;
    const int across = (w + TILE_X - 1) / TILE_X, tiles = across * ((h + TILE_Y - 1) / TILE_Y);
    const int e0 = edges[0], e1 = edges[1], e2 = edges[2], e3 = edges[3];
    load_taps(taps, starts[directions], offsets, factors);
    clear(tables, TUPLES);
    u32* table = my_table(tables, TUPLES);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int top = tile / across * TILE_Y, left = tile % across * TILE_X;
        load_plane(image, H, W, top, left, units, plane);
        for (int d = 0; d < directions; d++) {
            __syncthreads();  // the plane is there, and the levels before these are counted
            SHARE(i, LEVELS_X * LEVELS_Y) {
                const int at = i / LEVELS_X * PLANE_X + i % LEVELS_X;
                const int r = residual(plane + at, offsets, factors, starts[d], starts[d + 1]);
                levels[i] = (r >= e0) + (r >= e1) + (r >= e2) + (r >= e3);
            }
            __syncthreads();
            SHARE(i, TILE_X * TILE_Y) {
                const int row = i / TILE_X, column = i % TILE_X;
                const int y = top + row, x = left + column;
                const u8* l = levels + row * LEVELS_X + column;
                if (y < h && x + MORE < w) atomicAdd(&table[125 * l[0] + 25 * l[1] + 5 * l[2] + l[3]], 1u);
                if (y + MORE < h && x < w)
                    atomicAdd(&table[125 * l[0] + 25 * l[LEVELS_X] + 5 * l[2 * LEVELS_X] + l[3 * LEVELS_X]], 1u);
            }
        }
    }
    merge(tables, TUPLES, counts + (i64)blockIdx.y * TUPLES);
}

// Sums of |R|, of R^2 mod 2^32 and of R^2 div 2^32, in units: whole numbers of 64 bits overflow in no image.
// blockIdx.z is the direction; masks of several sides may stand in one bank.
extern "C" __global__ void residual_moments(
    const float* __restrict__ images, const int* __restrict__ taps, const int* __restrict__ starts,
    const int* __restrict__ sides, float units, int H, int W, i64* __restrict__ sums) {
    __shared__ int plane[PLANE_X * PLANE_Y];
    __shared__ int offsets[TAPS], factors[TAPS];
    const float* image = images + (i64)blockIdx.y * H * W;
    const int h = H - sides[blockIdx.z] + 1, w = W - sides[blockIdx.z] + 1;
    const int start = starts[blockIdx.z], count = starts[blockIdx.z + 1] - start;
    const int across = (w + TILE_X - 1) / TILE_X, tiles = across * ((h + TILE_Y - 1) / TILE_Y);
    load_taps(taps + 3 * start, count, offsets, factors);
    u64 parts[3] = {0, 0, 0};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int top = tile / across * TILE_Y, left = tile % across * TILE_X;
        load_plane(image, H, W, top, left, units, plane);
        __syncthreads();
        SHARE(i, TILE_X * TILE_Y) {
            const int row = i / TILE_X, column = i % TILE_X;
            if (top + row < h && left + column < w) {
                const i64 r = residual(plane + row * PLANE_X + column, offsets, factors, 0, count);
                const u64 square = r * r;
                parts[0] += r < 0 ? -r : r;
                parts[1] += square & 0xffffffffu;
                parts[2] += square >> 32;
            }
        }
        __syncthreads();
    }
    add_up(parts, sums + ((i64)blockIdx.y * gridDim.z + blockIdx.z) * 3);
}
