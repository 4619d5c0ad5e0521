// y = x * w: C[pixel][filter] = sum over taps of x[pixel, tap] w[filter][tap], an implicit matrix product that never
// forms the columns of x in memory. POINTWISE: a 1x1 window over an unpadded image, whose pixels are contiguous.
#include "windowed_image.cuh"
#include "multiply.cuh"

#ifndef POINTWISE
#define POINTWISE 0
#define A_VECTOR 1
#define B_VECTOR 1
#endif

struct Params {
    Product product;
    const Element* x;
    const Element* w;
    Window window;
    Images images;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_forward(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const Images& images = params.images;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);

    const Element* x = params.x + (long long)block.group * images.group_x;
#if POINTWISE
    ByImage pixels{images.plane_y, images.image_x};
    Loader a(RowMajor<TILE_M, A_VECTOR, ByImage>(x, block.m0, product.rows, product.depth, images.plane_x, pixels));
#else
    __shared__ PixelRows<TILE_M, A_VECTOR>::Table table;
    WindowedImage image{x, images.image_x, product.rows, product.depth, params.window};
    Loader a(PixelRows<TILE_M, A_VECTOR>(image, table, block.m0));
#endif
    const Element* w = params.w + (long long)block.group * product.columns * product.depth;
    Loader b(KMajor<TILE_N, B_VECTOR, Contiguous>(w, block.n0, product.columns, product.depth, product.depth, {}));
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    block = Block(block_index_again(), product);
    long long group_y = (long long)block.group * images.group_y;
    Output<ByImage> out(product, block.split, group_y, group_bias(product, block.group), product.rows,
                        images.plane_y.divisor, {images.plane_y, images.image_y});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    if (POINTWISE && !mma.OVERFLOWS) return;
    int last = min(share.last * TILE_K, product.depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        Element weight = w[(long long)n * product.depth + k];
#if POINTWISE
        return add_product(sum, x[pixels(m) + (long long)k * images.plane_x], weight);
#else
        return add_product(sum, image.word(m, k), weight);
#endif
    });
}
