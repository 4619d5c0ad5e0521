// y = x * w for windows that overlap, on tensor cores: x's pixels are fetched once for all taps (halo.cuh), the weights
// are packed (pack_weights.cu). The input gradient for stride 1 is such a convolution too, of dy.
#include "halo.cuh"
#include "multiply.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_halo(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);  // of the channels
    int row0 = block.m0 / TILE_M, column0 = split_off(row0, p.column_tiles) * TILE_COLUMNS;
    row0 *= TILE_ROWS;

    const Element* x = p.x + (long long)block.group * p.group_x;
    HaloWindow window{x, p.image_x, p.N, p.H, p.W, p.depth, p.stride_h, p.stride_w, p.top, p.left,
                      p.dilation_h, p.dilation_w, p.P, p.reach, p.S, p.taps, p.halo_pixels, p.halo_columns};
    int taps = p.taps.divisor;
    const Element* w = p.w + (long long)block.group * taps * p.columns * p.packed_channels;
    Loader b(KMajor<TILE_N, B_VECTOR, PackedTaps>(w, block.n0, p.columns, p.packed_channels * taps, p.packed_channels,
                                               {p.taps, p.columns, p.packed_channels}));
    Element* halos = (Element*)shared + STAGES * decltype(b)::Image::SIZE;
    Halo a(window, halos, row0, column0, share.first, share.last);
    Multiply<Halo::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first * taps, share.last * taps, (Element*)shared);

    long long group_y = (long long)block.group * p.group_y;
    const Element* bias = p.bias ? p.bias + block.group * p.columns : nullptr;
    int rows = p.N * (int)p.P.divisor, columns = p.Q.divisor;
    Output<HaloPixels> out{p.y + group_y, p.partial + block.split * p.output_size + group_y, bias, TILE_M, p.columns,
                           (int)p.plane.divisor, {row0, column0, rows, columns, p.P, p.image_y}};
    store_tile(mma, out, 0, block.n0, (Element*)shared);
}
