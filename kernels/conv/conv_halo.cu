// y = x * w for windows that overlap, on tensor cores: x's pixels are fetched once for all taps (halo.cuh), the weights
// are packed (pack_weights.cu). The input gradient for stride 1 is such a convolution too, of dy.
#include "halo.cuh"
#include "multiply.cuh"

#ifndef B_VECTOR
#define B_VECTOR 1
#endif

struct Params {
    Product product;
    const Element* x;
    const Element* w;  // packed
    Window window;
    Images images;
    HaloTiles tiles;
    int packed_channels;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_halo(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const Images& images = params.images;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);  // of the channels
    int taps = params.tiles.taps.divisor;
    int P = params.window.P.divisor, Q = params.window.Q.divisor;

    const Element* x = params.x + (long long)block.group * images.group_x;
    HaloImage image{x, images.image_x, product.depth, params.window, params.tiles};
    const Element* w = params.w + (long long)block.group * taps * product.columns * params.packed_channels;
    PackedTaps packed{params.tiles.taps, product.columns, params.packed_channels};
    Loader b(KMajor<TILE_N, B_VECTOR, PackedTaps>(w, block.n0, product.columns, params.packed_channels * taps,
                                                  params.packed_channels, packed));
    Element* halos = (Element*)shared + STAGES * decltype(b)::Image::SIZE;
    Halo a(image, halos, {block.m0 / TILE_M, params.tiles.column_tiles}, share.first, share.last);
    Multiply<Halo::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first * taps, share.last * taps, (Element*)shared);

    long long group_y = (long long)block.group * images.group_y;
    TilePixels<TILE_M> pixels{params.tiles.column_tiles, image.period(), image.rows(), P, Q, images.image_y};
    Output<TilePixels<TILE_M>> out(product, block.split, group_y, group_bias(product, block.group),
                                   product.m_tiles.divisor * TILE_M, images.plane_y.divisor, pixels);
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    int last = min(share.last * TILE_K, product.depth) * taps;
    mend_tile(
        mma, again, out, block.m0, block.n0, share.first * TILE_K * taps, last, [&](Acc sum, int m, int n, int k) {
            HaloTile<TILE_M> tile(m / TILE_M, params.tiles.column_tiles);
            int channel = k, tap = split_off(channel, params.tiles.taps);
            Word word = image.word(tile.row(m), tile.column(m), channel, tap);
            return add_product(sum, word, w[((long long)tap * product.columns + n) * params.packed_channels + channel]);
        });
}
