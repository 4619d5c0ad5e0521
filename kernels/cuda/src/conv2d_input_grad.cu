// dx: C[pixel][channel] = sum over filters and taps of dy[pixel, tap] w[tap][channel], for each residue class of the
// stride (residues.cuh); a class that no tap reaches gets zeros. The classes of one region are neighbouring blocks:
// they read the same part of dy and their stores interleave. POINTWISE: a 1x1 window over an unpadded image.
#include "residues.cuh"
#include "multiply.cuh"

struct Params;

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv2d_input_grad(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    int index = blockIdx.x, class_index = split_off(index, p.classes);
    Block block(index, p.n_tiles, p.m_tiles, p.groups);
    const Element* dy = p.dy + (long long)block.group * p.group_y;
    const Element* bias = p.bias ? p.bias + block.group * p.columns : nullptr;
    long long group_x = (long long)block.group * p.group_x;
    Element* dx = p.y + group_x;
    Acc* partial = p.partial + block.split * p.output_size + group_x;

#if POINTWISE
    const Element* w = p.w + (long long)block.group * p.depth * p.columns;
    RowMajor<TILE_M, A_VECTOR, ByImage> a(dy, block.m0, p.rows, p.depth, p.plane_x, {p.plane, p.image_y});
    RowMajor<TILE_N, B_VECTOR, Contiguous> b(w, block.n0, p.columns, p.depth, p.columns, {});
    Output<ByImage> out{dx, partial, bias, p.rows, p.columns, p.plane_x, {p.plane, p.image_x}};
    int depth = p.depth;
#else
    int class_w = split_off(class_index, p.classes_w), kernel_h = p.R.divisor, kernel_w = p.S.divisor;
    ClassAxis axis_h(class_index, p.stride_h, p.top, p.dilation_h, kernel_h, p.gcd_h, p.inverse_h);
    ClassAxis axis_w(class_w, p.stride_w, p.left, p.dilation_w, kernel_w, p.gcd_w, p.inverse_w);
    int filters = p.group_y / (int)p.plane.divisor, depth = filters * axis_h.taps * axis_w.taps;
    int filter = p.columns * kernel_h * kernel_w;
    FastDiv R = fast_div(max(axis_h.taps, 1)), S = fast_div(max(axis_w.taps, 1));

    __shared__ PixelRows<TILE_M>::Table table;
    Window window{dy, p.image_y, (int)p.P.divisor, (int)p.Q.divisor, p.rows, depth, p.class_rows, p.class_columns, R, S,
                  1, 1, -axis_h.origin, -axis_w.origin, -axis_h.step, -axis_w.step};
    PixelRows<TILE_M> a(window, table, block.m0);
    const Element* w = p.w + (long long)block.group * filters * filter;
    KMajor<TILE_N, 1, ClassTaps> b{w, block.n0, p.columns, depth, kernel_h * kernel_w,
                                   {R, S, axis_h, axis_w, filter, kernel_w}};
    ClassPixels pixels{p.class_rows, p.class_columns, axis_h, axis_w, p.stride_h, p.stride_w, p.H, p.W, p.image_x};
    Output<ClassPixels> out{dx, partial, bias, p.rows, p.columns, p.plane_x, pixels};
#endif
    Share share(depth, block.split, p.splits);
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
