// Sums of a half-plane spectrum over rings.

// One block sums one ring of one image.  It looks at every ring number, which the caches hold, and reads a value only
// where it belongs: so real numbers are added by one thread in one order, and by one tree, without atomics.
extern "C" __global__ void ring_sums(
    const float* __restrict__ values, const u16* __restrict__ ring, const double* __restrict__ copies, int H, int V,
    double* __restrict__ results) {
    const float* image = values + (i64)blockIdx.y * H * V;
    double sum = 0;
    for (int y = threadIdx.x / 32; y <= H / 2; y += blockDim.x / 32) {
        const int other = (H - y) % H;  // the row of opposite frequency has the same rings
        for (int x = threadIdx.x % 32; x < V; x += 32)
            if (ring[y * V + x] == blockIdx.x) {
                const double here = image[y * V + x];
                sum += (y == other ? here : here + image[other * V + x]) * copies[x];
            }
    }
    sum = ordered_sum(sum);
    if (threadIdx.x == 0) results[(i64)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}
