// dw for windows that overlap, on tensor cores: C[tap][filter] = sum over pixels of x[pixel, tap] dy[filter][pixel],
// where x's pixels are fetched once for all taps (weight_halo.cuh). BIAS_GRAD: db[filter] too, the sum of dy over the
// pixels.
#include "weight_halo.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_weight_grad_halo(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    __shared__ Vec<Element, GROUP> zeros;
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);  // of the tiles of pixels
    int channel0 = block.m0 / TILE_M * CHANNELS, rows = p.N * (int)p.P.divisor, columns = p.Q.divisor;

    const Element* x = p.x + (long long)block.group * p.group_x;
    HaloWindow window{x, p.image_x, p.N, p.H, p.W, columns, p.group_channels, p.stride_h, p.stride_w, p.top, p.left,
                      p.dilation_h, p.dilation_w, p.P, p.reach, p.S, p.taps, p.halo_pixels, p.halo_columns};
    const Element* dy = p.dy + (long long)block.group * p.group_y;
    Loader b(KMajor<TILE_N, B_VECTOR, TilePixels<TILE_K>>(dy, block.n0, p.columns, p.depth, p.plane.divisor,
                                                          {p.column_tiles, p.P, rows, columns, p.image_y}));
    Element* halos = (Element*)shared + STAGES * decltype(b)::Image::SIZE;
    WeightHalo a(window, p.column_tiles, halos, &zeros, channel0);
#if BIAS_GRAD
    RowSums<Multiply<WeightHalo::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<WeightHalo::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
#if BIAS_GRAD
    int filter = block.group * p.columns, filters = p.groups.divisor * p.columns;
    mma.store_sums(p.db + filter, p.db_partial + block.split * filters + filter, block.n0, p.columns);
#endif

    long long group_w = (long long)block.group * p.columns * p.rows;
    Output<TapPlaces> out{p.y + group_w, p.partial + block.split * p.output_size + group_w, nullptr,
                          TILE_M, p.columns, p.rows, {p.taps, channel0, p.group_channels}};
    store_tile(mma, out, 0, block.n0, (Element*)shared);
}
