// Bit planes and small patches: whole numbers from bytes; sums of one patch are made by one warp.

// Ones, then bits that differ from the right, below, below to the right and the next colour; pixels with three low
// zeros.  blockIdx.z is the colour; that of red also counts pixels where all three colours have low zeros.
extern "C" __global__ void bit_counts(
    const u8* __restrict__ rgb8, int H, int W, i64* __restrict__ counts, i64* __restrict__ low) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int c = blockIdx.z, next = (c + 1) % 3, last = (c + 2) % 3;
    u32 bits[5][3] = {{0}}, zeros = 0, none = 0;
    EACH(i, H * W) {
        const int y = i / W, x = i % W;
        const u8* p = image + i * 3;
        const int here = p[c], right = x + 1 < W, below = y + 1 < H;
        const int unlike[5] = {
            here, right ? here ^ p[3 + c] : 0, below ? here ^ p[3 * W + c] : 0,
            right && below ? here ^ p[3 * W + 3 + c] : 0, here ^ p[next]};
#pragma unroll
        for (int kind = 0; kind < 5; kind++)
#pragma unroll
            for (int bit = 0; bit < 3; bit++) bits[kind][bit] += unlike[kind] >> bit & 1;
        zeros += (here & 7) == 0;
        none += ((here | p[next] | p[last]) & 7) == 0;
    }
    u64 ones[15], lows[1] = {zeros}, all[1] = {none};
#pragma unroll
    for (int k = 0; k < 15; k++) ones[k] = bits[k / 3][k % 3];
    add_up(ones, counts + ((i64)blockIdx.y * 3 + c) * 15);  // [colour, kind, plane]; the caller turns it
    add_up(lows, low + (i64)blockIdx.y * 4 + c);
    if (c == 0) add_up(all, low + (i64)blockIdx.y * 4 + 3);
}

// Differences of the low bits, right, down and both diagonals, between pixels of one patch.
extern "C" __global__ void bit_gradients(const u8* __restrict__ rgb8, int side, int H, int W, i64* __restrict__ sums) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int columns = W / side, patches = H / side * columns, lane = threadIdx.x % 32;
    const int warps = gridDim.x * blockDim.x / 32;
    for (int patch = (blockIdx.x * blockDim.x + threadIdx.x) / 32; patch < patches; patch += warps) {
        const u8* corner = image + (patch / columns * side * W + patch % columns * side) * 3;
        u32 total = 0;
        for (int i = lane; i < side * side; i += 32) {
            const int y = i / side, x = i % side;
            for (int c = 0; c < 3; c++) {
                const u8* p = corner + (y * W + x) * 3 + c;
                if (x + 1 < side) total += distance(p[0] & 7, p[3] & 7);
                if (y + 1 < side) {
                    total += distance(p[0] & 7, p[3 * W] & 7);
                    if (x + 1 < side)
                        total += distance(p[0] & 7, p[3 * W + 3] & 7) + distance(p[3] & 7, p[3 * W] & 7);
                }
            }
        }
        const u64 sum = warp_sum(total);
        if (lane == 0) sums[(i64)blockIdx.y * patches + patch] = sum;
    }
}

// Squared differences to the corner of each 2 x 2 cell, over the patch and the three colours.
extern "C" __global__ void patch_energy(
    const u8* __restrict__ rgb8, int side, int stride, int H, int W, int h, int w, float* __restrict__ energies) {
    const u8* image = rgb8 + (i64)blockIdx.y * H * W * 3;
    const int lane = threadIdx.x % 32, warps = gridDim.x * blockDim.x / 32;
    for (int patch = (blockIdx.x * blockDim.x + threadIdx.x) / 32; patch < h * w; patch += warps) {
        const int top = patch / w * stride, left = patch % w * stride;
        u32 total = 0;
        for (int i = lane; i < side * side; i += 32) {
            const int y = top + i / side, x = left + i % side;
            const u8 *p = image + (y * W + x) * 3, *corner = image + ((y - y % 2) * W + x - x % 2) * 3;
            for (int c = 0; c < 3; c++) total += (p[c] - corner[c]) * (p[c] - corner[c]);
        }
        const u64 sum = warp_sum(total);
        if (lane == 0) energies[(i64)blockIdx.y * h * w + patch] = (float)sum;
    }
}
