// dx where channels come last: C[channel][pixel] = sum over taps and filters of w[channel][tap] dy[pixel, tap], for each
// residue class of the stride as in conv_input_grad.cu. The weights are packed (pack_class_weights.cu).
#include "channels_last_image.cuh"
#include "residues.cuh"
#include "multiply.cuh"

#ifndef A_VECTOR
#define A_VECTOR 1
#define B_VECTOR 1
#endif

struct Params {
    Product product;
    const Element* dy;
    const Element* w;
    Window window;
    Images images;  // image_x: pixels
    ChannelsLast channels_last;
    int filters;
    FastDiv classes, classes_w, class_rows, class_columns;
    int gcd_h, inverse_h, gcd_w, inverse_w;
    FastDiv classes_h, class_slices;
    int gcd_d, inverse_d;
    int first_taps, first_taps_h, first_taps_w, packed_depth;  // of the packed weights
};

// Where the class's pixels lie in dx.
struct PixelsOfChannels {
    static constexpr bool GAPS = true;
    const ClassPixels& pixels;
    int channels;

    DEVICE long long operator()(int n) const { return pixels(n) * channels; }
};

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void conv_input_grad_nhwc(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    const ChannelsLast& channels = params.channels_last;
    int index = blockIdx.x, class_index = split_off(index, params.classes);
    Block block(index, product, true);

    __shared__ CornerRows<TILE_N, B_VECTOR>::Tables tables;
    __shared__ ResidueClass residue;
    if (threadIdx.x == 0) residue = residue_class(params, class_index, params.dy);
    __syncthreads();
    int depth = residue.image.depth, taps = block.group * params.first_taps + (depth > 0 ? residue.taps : 0);
    const Element* w = params.w + (long long)taps * product.rows * params.packed_depth;
    Loader a(KMajor<TILE_M, A_VECTOR, Contiguous>(w, block.m0, product.rows, depth, params.packed_depth, {}));
    ChannelsLastImage image =
        channels_last_image(params.dy, channels, block.group, product.columns, depth, residue.image.window);
    Loader b(CornerRows<TILE_N, B_VECTOR>(image, tables, block.n0));
    Share share(depth, block.split, product.splits);
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);

    int channel = block.group * product.rows;
    const Element* bias = product.bias ? product.bias + channel : nullptr;
    PixelsOfChannels pixels{residue.pixels, channels.K};
    Output<Contiguous, PixelsOfChannels> out(product, block.split, channel, bias, product.rows, pixels, {});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    int last = min(share.last * TILE_K, depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        return add_product(sum, image.word(n, k), w[(long long)m * params.packed_depth + k]);
    });
}
