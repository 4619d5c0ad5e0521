// dx: C[pixel][channel] = sum over filters and taps of dy[pixel, tap] w[tap][channel], for each residue class of the
// stride (residues.cuh); a class that no tap reaches gets zeros. The classes of one region are neighbouring blocks:
// they read the same part of dy and their stores interleave. POINTWISE: a 1x1 window over an unpadded image.
#include "residues.cuh"
#include "multiply.cuh"

#ifndef POINTWISE
#define POINTWISE 0
#define A_VECTOR 1
#define B_VECTOR 1
#endif

struct Params {
    Product product;
    const Element* dy;
    const Element* w;
    Window window;
    Images images;
    int filters;
    FastDiv classes, classes_w, class_rows, class_columns;
    int gcd_h, inverse_h, gcd_w, inverse_w;
    FastDiv classes_h, class_slices;
    int gcd_d, inverse_d;
};

#if !POINTWISE
DEVICE ResidueClass residue_class(const Params& params, int index, const Element* dy) {
    const Window& g = params.window;
    FastDiv rows = params.class_rows, columns = params.class_columns;
    int index_w = split_off(index, params.classes_w), kernel_h = g.R.divisor, kernel_w = g.S.divisor;
#if AXES == 3
    int index_d = index, index_h = split_off(index_d, params.classes_h), kernel_d = g.T.divisor;
#else
    int index_h = index, kernel_d = 1;
#endif
    ClassAxis h(index_h, g.stride_h, g.top, g.dilation_h, kernel_h, params.gcd_h, params.inverse_h);
    ClassAxis w(index_w, g.stride_w, g.left, g.dilation_w, kernel_w, params.gcd_w, params.inverse_w);
    FastDiv R = fast_div(max(h.taps, 1)), S = fast_div(max(w.taps, 1));
    int P = g.P.divisor, Q = g.Q.divisor, filter = params.product.columns * kernel_d * kernel_h * kernel_w;
    Window window{P, Q, rows, columns, R, S, 1, 1, -h.origin, -w.origin, -h.step, -w.step};
    ResidueClass residue{
        {dy, params.images.image_y, params.product.rows, params.filters * h.taps * w.taps, window},
        {R, S, filter, kernel_w, h.first_tap, h.tap_step, w.first_tap, w.tap_step},
        {rows, columns, h.first, g.stride_h, w.first, g.stride_w, g.H, g.W, params.images.image_x},
    };
#if AXES == 3
    ClassAxis d(index_d, g.stride_d, g.front, g.dilation_d, kernel_d, params.gcd_d, params.inverse_d);
    FastDiv slices = params.class_slices, T = fast_div(max(d.taps, 1));
    residue.image.depth *= d.taps;
    Window& along = residue.image.window;
    along.D = g.Z.divisor, along.Z = slices, along.T = T;
    along.stride_d = 1, along.front = -d.origin, along.dilation_d = -d.step;
    ClassTaps& taps = residue.taps;
    taps.T = T, taps.kernel_h = kernel_h, taps.first_d = d.first_tap, taps.step_d = d.tap_step;
    ClassPixels& pixels = residue.pixels;
    pixels.slices = slices, pixels.first_d = d.first, pixels.stride_d = g.stride_d, pixels.D = g.D;
#endif
    return residue;
}
#endif

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_input_grad(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const Images& images = params.images;
    int index = blockIdx.x, class_index = split_off(index, params.classes);
    Block block(index, product);
    const Element* dy = params.dy + (long long)block.group * images.group_y;

#if POINTWISE
    int depth = product.depth;
    using Pixels = ByImage;
    ByImage pixels{images.plane_y, images.image_x};
    const Element* w = params.w + (long long)block.group * depth * product.columns;
    ByImage along{images.plane_y, images.image_y};
    Loader a(RowMajor<TILE_M, A_VECTOR, ByImage>(dy, block.m0, product.rows, depth, images.plane_x, along));
    Loader b(RowMajor<TILE_N, B_VECTOR, Contiguous>(w, block.n0, product.columns, depth, product.columns, {}));
#else
    __shared__ PixelRows<TILE_M, A_VECTOR>::Table table;
    __shared__ ResidueClass residue;
    if (threadIdx.x == 0) residue = residue_class(params, class_index, dy);
    __syncthreads();
    int depth = residue.image.depth, taps = params.window.R.divisor * params.window.S.divisor;
#if AXES == 3
    taps *= params.window.T.divisor;
#endif
    using Pixels = const ClassPixels&;
    Pixels pixels = residue.pixels;
    const Element* w = params.w + (long long)block.group * params.filters * residue.taps.filter;
    Loader a(PixelRows<TILE_M, A_VECTOR>(residue.image, table, block.m0));
    Loader b(KMajor<TILE_N, 1, const ClassTaps&>(w, block.n0, product.columns, depth, taps, residue.taps));
#endif
    Share share(depth, block.split, product.splits);
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    long long group_x = (long long)block.group * images.group_x;
    Output<Pixels> out(product, block.split, group_x, group_bias(product, block.group), product.rows, images.plane_x,
                       pixels);
    bool nan = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
#if !POINTWISE
    int last = min(share.last * TILE_K, depth);
    mend_tile(nan, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        return add_product(sum, residue.image.word(m, k), w[(long long)n * taps + residue.taps(k)]);
    });
#endif
}
