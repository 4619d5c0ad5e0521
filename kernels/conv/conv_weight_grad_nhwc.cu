// dw where channels come last: C[tap, channel][filter] = sum over pixels of x[pixel, tap, channel] dy[pixel][filter].
// Channels and filters are contiguous. BIAS_GRAD: db[filter] too, the sum of dy over the pixels.
#include "channels_last_image.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

#ifndef A_VECTOR
#define A_VECTOR 1
#define B_VECTOR 1
#define BIAS_GRAD 0
#endif

struct Params {
    Product product;
    const Element* dy;
    const Element* x;
    Window window;
    ChannelsLast channels_last;
    BiasGrad bias_grad;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_weight_grad_nhwc(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const ChannelsLast& channels = params.channels_last;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);

    __shared__ ChannelRows<TILE_M, A_VECTOR>::Table table;
    ChannelsLastImage image =
        channels_last_image(params.x, channels, block.group, product.depth, product.rows, params.window);
    Loader a(ChannelRows<TILE_M, A_VECTOR>(image, table, block.m0));
    int filter = block.group * product.columns;
    const Element* dy = params.dy + filter;
    Loader b(RowMajor<TILE_N, B_VECTOR, Contiguous>(dy, block.n0, product.columns, product.depth, channels.K, {}));
#if BIAS_GRAD
    RowSums<Multiply<decltype(a)::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
#if BIAS_GRAD
    const BiasGrad& to = params.bias_grad;
    mma.store_sums(to.db + filter, to.partial + block.split * channels.K + filter, block.n0, product.columns);
#endif

    Output<Contiguous> out(product, block.split, (long long)filter * product.rows, nullptr, product.rows, product.rows,
                           {});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    int last = min(share.last * TILE_K, product.depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        return add_product(sum, image.word(k, m), dy[(long long)k * channels.K + n]);
    });
}
