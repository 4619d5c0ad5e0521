// y = x * w: C[pixel][filter] = sum over taps of x[pixel, tap] w[filter][tap], an implicit matrix product that never
// forms the columns of x in memory. POINTWISE: a 1x1 window over an unpadded image, whose pixels are contiguous.
#include "sources.cuh"
#include "multiply.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_forward(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);

    const Element* x = p.x + (long long)block.group * p.group_x;
#if POINTWISE
    Loader a(RowMajor<TILE_M, A_VECTOR, ByImage>(x, block.m0, p.rows, p.depth, p.plane_x, {p.plane, p.image_x}));
#else
    __shared__ PixelRows<TILE_M, A_VECTOR>::Table table;
    Window window{x, p.image_x, p.H, p.W, p.rows, p.depth, p.P, p.Q, p.R, p.S,
                  p.stride_h, p.stride_w, p.top, p.left, p.dilation_h, p.dilation_w};
    Loader a(PixelRows<TILE_M, A_VECTOR>(window, table, block.m0));
#endif
    const Element* w = p.w + (long long)block.group * p.columns * p.depth;
    Loader b(KMajor<TILE_N, B_VECTOR, Contiguous>(w, block.n0, p.columns, p.depth, p.depth, {}));
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    long long group_y = (long long)block.group * p.group_y;
    const Element* bias = p.bias ? p.bias + block.group * p.columns : nullptr;
    Output<ByImage> out{p.y + group_y, p.partial + block.split * p.output_size + group_y, bias,
                        p.rows, p.columns, (int)p.plane.divisor, {p.plane, p.image_y}};
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
