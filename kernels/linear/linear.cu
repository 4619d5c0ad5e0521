// A matrix product for the linear layer's forward pass and its two gradients. Each operand is contiguous either along
// k (A_K_MAJOR, B_K_MAJOR) or along its row axis. BIAS_GRAD: db too, the sums of B over k.
#include "sources.cuh"
#include "multiply.cuh"
#include "row_sums.cuh"

struct Params;

template <int ROWS, bool K_MAJOR, int VECTOR>
DEVICE auto matrix(const Element* base, int row0, int rows, int depth, int stride) {
    if constexpr (K_MAJOR) return Loader(KMajor<ROWS, VECTOR, Contiguous>(base, row0, rows, depth, stride, {}));
    else return Loader(RowMajor<ROWS, VECTOR, Contiguous>(base, row0, rows, depth, stride, {}));
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS_PER_SM) void linear(const Params p) {
    extern __shared__ __align__(16) unsigned char shared[];
    Block block(blockIdx.x, p.n_tiles, p.m_tiles, p.groups);
    Share share(p.depth, block.split, p.splits);

    auto a = matrix<TILE_M, A_K_MAJOR, A_VECTOR>(p.a, block.m0, p.rows, p.depth, p.stride_a);
    auto b = matrix<TILE_N, B_K_MAJOR, B_VECTOR>(p.b, block.n0, p.columns, p.depth, p.stride_b);
#if BIAS_GRAD
    RowSums<Multiply<decltype(a)::Image, decltype(b)::Image>, decltype(b)::Image> mma(block);
#else
    Multiply<decltype(a)::Image, decltype(b)::Image> mma;
#endif
    gemm_tile(mma, a, b, share.first, share.last, (Element*)shared);
#if BIAS_GRAD
    mma.store_sums(p.db, p.db_partial + block.split * p.columns, block.n0, p.columns);
#endif

    Output<Contiguous> out{p.y, p.partial + block.split * p.output_size, p.bias, p.rows, p.columns, p.rows, {}};
    store_tile(mma, out, block.m0, block.n0, (Element*)shared);
}
