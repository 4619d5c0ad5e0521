// dx: C[pixel][channel] = sum over filters and taps of dy[pixel, tap] w[tap][channel], for each residue class of the
// stride (residues.cuh); a class that no tap reaches gets zeros. The classes of one region are neighbouring blocks:
// they read the same part of dy and their stores interleave. The weights are packed (pack_class_weights.cu), so that a
// class's filters and taps are neighbours. POINTWISE: a 1x1 window over an unpadded image, whose weights are not.
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
    int first_taps, first_taps_h, first_taps_w, packed_depth;  // of the packed weights
};

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
    int depth = residue.image.depth, taps = block.group * params.first_taps + (depth > 0 ? residue.taps : 0);
    using Pixels = const ClassPixels&;
    Pixels pixels = residue.pixels;
    const Element* w = params.w + (long long)taps * product.columns * params.packed_depth;
    Loader a(PixelRows<TILE_M, A_VECTOR>(residue.image, table, block.m0));
    Loader b(KMajor<TILE_N, B_VECTOR, Contiguous>(w, block.n0, product.columns, depth, params.packed_depth, {}));
#endif
    Share share(depth, block.split, product.splits);
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    index = block_index_again();
    split_off(index, params.classes);
    block = Block(index, product);
#if !POINTWISE
    depth = residue.image.depth;
#endif
    share = Share(depth, block.split, product.splits);
    long long group_x = (long long)block.group * images.group_x;
    Output<Pixels> out(product, block.split, group_x, group_bias(product, block.group), product.rows, images.plane_x,
                       pixels);
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    if (POINTWISE && !mma.OVERFLOWS) return;
    int last = min(share.last * TILE_K, depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
#if POINTWISE
        return add_product(sum, dy[along(m) + (long long)k * images.plane_x], w[(long long)k * product.columns + n]);
#else
        return add_product(sum, residue.image.word(m, k), w[(long long)n * params.packed_depth + k]);
#endif
    });
}
