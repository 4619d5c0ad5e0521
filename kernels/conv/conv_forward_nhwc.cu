// y = x * w where channels come last: C[filter][pixel] = sum over taps and channels of w[filter][tap] x[pixel, tap], an
// implicit matrix product whose operands both are contiguous along k.
#include "channels_last_image.cuh"
#include "multiply.cuh"

#ifndef A_VECTOR
#define A_VECTOR 1
#define B_VECTOR 1
#endif

struct Params {
    Product product;
    const Element* x;
    const Element* w;
    Window window;
    ChannelsLast channels_last;
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_forward_nhwc(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    Block block(blockIdx.x, product, true);
    Share share(product.depth, block.split, product.splits);

    const Element* w = params.w + (long long)block.group * product.rows * product.depth;
    Loader a(KMajor<TILE_M, A_VECTOR, Contiguous>(w, block.m0, product.rows, product.depth, product.depth, {}));
    __shared__ CornerRows<TILE_N, B_VECTOR>::Tables tables;
    const ChannelsLast& channels = params.channels_last;
    ChannelsLastImage image =
        channels_last_image(params.x, channels, block.group, product.columns, product.depth, params.window);
    Loader b(CornerRows<TILE_N, B_VECTOR>(image, tables, block.n0));
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    int filter = block.group * product.rows;
    const Element* bias = product.bias ? product.bias + filter : nullptr;
    Output<Contiguous> out(product, block.split, filter, bias, product.rows, channels.K, {});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    int last = min(share.last * TILE_K, product.depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        return add_product(sum, image.word(n, k), w[(long long)m * product.depth + k]);
    });
}
