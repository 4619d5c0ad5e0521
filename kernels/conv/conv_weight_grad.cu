// dw: C[tap][filter] = sum over pixels of x[pixel, tap] dy[filter][pixel]. Pixels, the k axis, are contiguous in both
// operands. POINTWISE: a 1x1 window over an unpadded image, whose pixels are contiguous. BIAS_GRAD: db[filter] too, the
// sum of dy over the pixels.
#include "windowed_image.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

#ifndef POINTWISE
#define POINTWISE 0
#define A_VECTOR 1
#define B_VECTOR 1
#define BIAS_GRAD 0
#endif

struct Params {
    Product product;
    const Element* dy;
    const Element* x;
    Window window;
    Images images;
    BiasGrad bias_grad;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_weight_grad(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const Images& images = params.images;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);

    auto x = [&] { return params.x + (long long)block.group * images.group_x; };
#if POINTWISE
    ByImage pixels_x{images.plane_y, images.image_x};
    Loader a(KMajor<TILE_M, A_VECTOR, ByImage>(x(), block.m0, product.rows, product.depth, images.plane_x, pixels_x));
#else
    __shared__ TapRows<TILE_M, A_VECTOR>::Table table;
    auto image = [&] { return WindowedImage{x(), images.image_x, product.depth, product.rows, params.window}; };
    Loader a(TapRows<TILE_M, A_VECTOR>(image(), table, block.m0));
#endif
    const Element* dy = params.dy + (long long)block.group * images.group_y;
    ByImage pixels_y{images.plane_y, images.image_y};
    Loader b(KMajor<TILE_N, B_VECTOR, ByImage>(dy, block.n0, product.columns, product.depth, images.plane_y.divisor,
                                               pixels_y));
#if BIAS_GRAD
    RowSums<Multiply<decltype(a)::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    block = Block(block_index_again(), product);
    share = Share(product.depth, block.split, product.splits);
#if BIAS_GRAD
    const BiasGrad& to = params.bias_grad;
    int filter = block.group * product.columns, filters = product.groups.divisor * product.columns;
    mma.store_sums(to.db + filter, to.partial + block.split * filters + filter, block.n0, product.columns);
#endif

    long long group_w = (long long)block.group * product.columns * product.rows;
    Output<Contiguous> out(product, block.split, group_w, nullptr, product.rows, product.rows, {});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    if (POINTWISE && !mma.OVERFLOWS) return;
    int last = min(share.last * TILE_K, product.depth), plane = images.plane_y.divisor;
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        Element gradient = dy[(long long)n * plane + pixels_y(k)];
#if POINTWISE
        return add_product(sum, x()[pixels_x(k) + (long long)m * images.plane_x], gradient);
#else
        return add_product(sum, image().word(k, m), gradient);
#endif
    });
}
