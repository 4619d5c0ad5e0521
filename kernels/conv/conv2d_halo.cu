// y = x * w for windows that overlap, on tensor cores: x's pixels are fetched once for all taps (halo.cuh), the weights
// are packed (pack_weights.cu). The input gradient for stride 1 is such a convolution too, of dy.
#include "halo.cuh"
#include "multiply.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_halo(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);  // of the channels
    int taps = p.taps.divisor, rows = p.N * (int)p.P.divisor, columns = p.Q.divisor;

    const Element* x = p.x + (long long)block.group * p.group_x;
    HaloWindow window{x, p.image_x, p.N, p.H, p.W, columns, p.depth, p.stride_h, p.stride_w, p.top, p.left,
                      p.dilation_h, p.dilation_w, p.P, p.reach, p.S, p.taps, p.halo_pixels, p.halo_columns};
    const Element* w = p.w + (long long)block.group * taps * p.columns * p.packed_channels;
    Loader b(KMajor<TILE_N, B_VECTOR, PackedTaps>(w, block.n0, p.columns, p.packed_channels * taps, p.packed_channels,
                                               {p.taps, p.columns, p.packed_channels}));
    Element* halos = (Element*)shared + STAGES * decltype(b)::Image::SIZE;
    Halo a(window, halos, {block.m0 / TILE_M, p.column_tiles}, share.first, share.last);
    Multiply<Halo::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first * taps, share.last * taps, (Element*)shared);

    long long group_y = (long long)block.group * p.group_y;
    const Element* bias = p.bias ? p.bias + block.group * p.columns : nullptr;
    Output<TilePixels<TILE_M>> out{p.y + group_y, p.partial + block.split * p.output_size + group_y, bias,
                                 (int)p.m_tiles.divisor * TILE_M, p.columns, (int)p.plane.divisor,
                                 {p.column_tiles, p.P, rows, columns, p.image_y}};
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
