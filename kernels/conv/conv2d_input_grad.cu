// dx: C[pixel][channel] = sum over filters and taps of dy[pixel, tap] w[tap][channel], for each residue class of the
// stride (residues.cuh); a class that no tap reaches gets zeros. The classes of one region are neighbouring blocks:
// they read the same part of dy and their stores interleave. POINTWISE: a 1x1 window over an unpadded image.
#include "residues.cuh"
#include "multiply.cuh"

struct Params;

#if !POINTWISE
DEVICE ResidueClass residue_class(const Params& p, int index, const Element* dy) {
    int index_w = split_off(index, p.classes_w), kernel_h = p.R.divisor, kernel_w = p.S.divisor;
    ClassAxis h(index, p.stride_h, p.top, p.dilation_h, kernel_h, p.gcd_h, p.inverse_h);
    ClassAxis w(index_w, p.stride_w, p.left, p.dilation_w, kernel_w, p.gcd_w, p.inverse_w);
    FastDiv R = fast_div(max(h.taps, 1)), S = fast_div(max(w.taps, 1));
    int depth = p.filters * h.taps * w.taps;
    return {
        {dy, p.image_y, (int)p.P.divisor, (int)p.Q.divisor, p.rows, depth, p.class_rows, p.class_columns, R, S,
         1, 1, -h.origin, -w.origin, -h.step, -w.step},
        {R, S, p.columns * kernel_h * kernel_w, kernel_w, h.first_tap, h.tap_step, w.first_tap, w.tap_step},
        {p.class_rows, p.class_columns, h.first, p.stride_h, w.first, p.stride_w, p.H, p.W, p.image_x},
    };
}
#endif

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_input_grad(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    int index = blockIdx.x, class_index = split_off(index, p.classes);
    Block block(index, p.n_tiles, p.m_tiles, p.groups);
    const Element* dy = p.dy + (long long)block.group * p.group_y;
    long long group_x = (long long)block.group * p.group_x;

#if POINTWISE
    int depth = p.depth;
    using Pixels = ByImage;
    ByImage pixels{p.plane, p.image_x};
    const Element* w = p.w + (long long)block.group * depth * p.columns;
    Loader a(RowMajor<TILE_M, A_VECTOR, ByImage>(dy, block.m0, p.rows, depth, p.plane_x, {p.plane, p.image_y}));
    Loader b(RowMajor<TILE_N, B_VECTOR, Contiguous>(w, block.n0, p.columns, depth, p.columns, {}));
#else
    __shared__ PixelRows<TILE_M, A_VECTOR>::Table table;
    __shared__ ResidueClass residue;
    if (threadIdx.x == 0) residue = residue_class(p, class_index, dy);
    __syncthreads();
    int depth = residue.window.depth, taps = p.R.divisor * p.S.divisor;
    using Pixels = const ClassPixels&;
    Pixels pixels = residue.pixels;
    const Element* w = p.w + (long long)block.group * p.filters * residue.taps.filter;
    Loader a(PixelRows<TILE_M, A_VECTOR>(residue.window, table, block.m0));
    Loader b(KMajor<TILE_N, 1, const ClassTaps&>(w, block.n0, p.columns, depth, taps, residue.taps));
#endif
    Share share(depth, block.split, p.splits);
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    const Element* bias = p.bias ? p.bias + block.group * p.columns : nullptr;
    Output<Pixels> out{p.y + group_x, p.partial + block.split * p.output_size + group_x, bias,
                       p.rows, p.columns, p.plane_x, pixels};
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
