// dw for windows that overlap, on tensor cores: C[tap][filter] = sum over pixels of x[pixel, tap] dy[filter][pixel],
// where x's pixels are fetched once for all taps (weight_halo.cuh). BIAS_GRAD: db[filter] too, the sum of dy over the
// pixels.
#include "weight_halo.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

#ifndef B_VECTOR
#define B_VECTOR 1
#define BIAS_GRAD 0
#endif

struct Params {
    Product product;
    const Element* dy;
    const Element* x;
    Window window;
    Images images;
    HaloTiles tiles;
    int group_channels;
    BiasGrad bias_grad;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_weight_grad_halo(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const Images& images = params.images;
    __shared__ Vec<Element, GROUP> zeros;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);  // of the tiles of pixels
    int channel0 = block.m0 / TILE_M * CHANNELS;
    int P = params.window.P.divisor, Q = params.window.Q.divisor;

    const Element* x = params.x + (long long)block.group * images.group_x;
    HaloImage image{x, images.image_x, params.group_channels, params.window, params.tiles};
    const Element* dy = params.dy + (long long)block.group * images.group_y;
    TilePixels<TILE_K> pixels{params.tiles.column_tiles, image.period(), image.rows(), P, Q, images.image_y};
    Loader b(KMajor<TILE_N, B_VECTOR, TilePixels<TILE_K>>(dy, block.n0, product.columns, product.depth,
                                                          images.plane_y.divisor, pixels));
    Element* halos = (Element*)shared + STAGES * decltype(b)::Image::SIZE;
    WeightHalo a(image, halos, &zeros, channel0);
#if BIAS_GRAD
    RowSums<Multiply<WeightHalo::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<WeightHalo::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
#if BIAS_GRAD
    const BiasGrad& to = params.bias_grad;
    int filter = block.group * product.columns, filters = product.groups.divisor * product.columns;
    mma.store_sums(to.db + filter, to.partial + block.split * filters + filter, block.n0, product.columns);
#endif

    long long group_w = (long long)block.group * product.columns * product.rows;
    Output<TapPlaces> out(product, block.split, group_w, nullptr, TILE_M, product.rows,
                          {params.tiles.taps, channel0, params.group_channels});
    bool again = store_tile(mma, out, 0, block.n0, (Element*)shared);
    int first = share.first * TILE_K, last = share.last * TILE_K, plane = images.plane_y.divisor;
    mend_tile(mma, again, out, 0, block.n0, first, last, [&](Acc sum, int m, int n, int k) {
        long long pixel = pixels(k);
        if (pixel < 0) return sum;
        HaloTile<TILE_K> tile(k / TILE_K, params.tiles.column_tiles);
        TapRow row(m, params.tiles.taps);
        Word word = image.word(tile.row(k), tile.column(k), channel0 + row.block * 16 + m % 16, row.tap);
        return add_product(sum, word, dy[(long long)n * plane + pixel]);
    });
}
