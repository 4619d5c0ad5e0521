// A matrix product for the linear layer's forward pass and its two gradients. Each operand is contiguous either along
// k (A_K_MAJOR, B_K_MAJOR) or along its row axis. BIAS_GRAD: db too, the sums of B over k.
#include "sources.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

#ifndef A_K_MAJOR
#define A_K_MAJOR 1
#define B_K_MAJOR 1
#define A_VECTOR 1
#define B_VECTOR 1
#define BIAS_GRAD 0
#endif

struct Params {
    Product product;
    const Element* a;
    const Element* b;
    int stride_a, stride_b;
    BiasGrad bias_grad;
};

template <int ROWS, bool K_MAJOR, int VECTOR>
DEVICE auto matrix(const Element* base, int row0, int rows, int depth, int stride) {
    if constexpr (K_MAJOR) return Loader(KMajor<ROWS, VECTOR, Contiguous>(base, row0, rows, depth, stride, {}));
    else return Loader(RowMajor<ROWS, VECTOR, Contiguous>(base, row0, rows, depth, stride, {}));
}

template <bool K_MAJOR>
DEVICE long long at(int row, int k, int stride) {
    return K_MAJOR ? (long long)row * stride + k : (long long)k * stride + row;
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void linear(const Params params) {
    extern __shared__ __align__(16) unsigned char shared[];
    const Product& product = params.product;
    Block block(blockIdx.x, product);
    Share share(product.depth, block.split, product.splits);

    auto a = matrix<TILE_M, A_K_MAJOR, A_VECTOR>(params.a, block.m0, product.rows, product.depth, params.stride_a);
    auto b = matrix<TILE_N, B_K_MAJOR, B_VECTOR>(params.b, block.n0, product.columns, product.depth, params.stride_b);
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
    mma.store_sums(to.db, to.partial + block.split * product.columns, block.n0, product.columns);
#endif

    Output<Contiguous> out(product, block.split, 0, product.bias, product.rows, product.rows, {});
    bool again = store_tile(mma, out, block.m0, block.n0, (Element*)shared);
    if (!mma.OVERFLOWS) return;
    int last = min(share.last * TILE_K, product.depth);
    mend_tile(mma, again, out, block.m0, block.n0, share.first * TILE_K, last, [&](Acc sum, int m, int n, int k) {
        return add_product(sum, params.a[at<A_K_MAJOR>(m, k, params.stride_a)],
                           params.b[at<B_K_MAJOR>(n, k, params.stride_b)]);
    });
}
