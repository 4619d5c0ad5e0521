// dw: C[tap][filter] = sum over pixels of x[pixel, tap] dy[filter][pixel]. Pixels, the k axis, are contiguous in both
// operands. POINTWISE: a 1x1 window over an unpadded image, whose pixels are contiguous. BIAS_GRAD: db[filter] too, the
// sum of dy over the pixels.
#include "sources.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_weight_grad(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);

    const Element* x = p.x + (long long)block.group * p.group_x;
#if POINTWISE
    Loader a(KMajor<TILE_M, A_VECTOR, ByImage>(x, block.m0, p.rows, p.depth, p.plane_x, {p.plane, p.image_x}));
#else
    __shared__ TapRows<TILE_M, A_VECTOR>::Table table;
    Window window{x, p.image_x, p.H, p.W, p.depth, p.rows, p.P, p.Q, p.R, p.S,
                  p.stride_h, p.stride_w, p.top, p.left, p.dilation_h, p.dilation_w};
    Loader a(TapRows<TILE_M, A_VECTOR>(window, table, block.m0));
#endif
    const Element* dy = p.dy + (long long)block.group * p.group_y;
    int plane_y = p.plane.divisor;
    Loader b(KMajor<TILE_N, B_VECTOR, ByImage>(dy, block.n0, p.columns, p.depth, plane_y, {p.plane, p.image_y}));
#if BIAS_GRAD
    RowSums<Multiply<decltype(a)::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
#if BIAS_GRAD
    int filter = block.group * p.columns, filters = p.groups.divisor * p.columns;
    mma.store_sums(p.db + filter, p.db_partial + block.split * filters + filter, block.n0, p.columns);
#endif

    long long group_w = (long long)block.group * p.columns * p.rows;
    Output<Contiguous> out{p.y + group_w, p.partial + block.split * p.output_size + group_w, nullptr,
                           p.rows, p.columns, p.rows, {}};
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
