// The one matrix product behind convolution and linear layers: C[m][n] = sum over k of A[m][k] B[k][n].
//
// m always runs along the output's contiguous axis, so a warp stores whole rows. A block computes a TILE_M x TILE_N
// tile of C in steps of TILE_K along k; each warp holds a WARP_M x WARP_N part of it in registers. What A and B are
// (an image seen through a window, weights, a matrix) is a source's business (sources.cuh), how a k-tile is
// multiplied is the multiply policy's (ffma.cuh, ...), and where C goes is the output's.
//
// #defines: the tile's extents, SPLIT (whether blocks share the k axis), BIAS_ALONG_M (or along n).
#ifndef BACKSTRIDE_GEMM
#define BACKSTRIDE_GEMM

#include "element.cuh"
#include "fast_div.cuh"

#ifndef TILE_M
#define TILE_M 64
#define TILE_N 64
#define TILE_K (64 / (int)sizeof(Element))
#define WARP_M 32
#define WARP_N 32
#define THREADS 128
#define BLOCKS_PER_SM 2
#define STAGES 2
#define SPLIT 0
#define BIAS_ALONG_M 0
#endif

// What every product kernel is told: C is (columns, rows), its m axis being `rows`; `depth` is k's extent, or how many
// of what blocks split along k.
struct Product {
    FastDiv n_tiles, m_tiles, groups;
    int rows, columns, depth, splits;
    long long output_size;
    Element* y;
    const Element* bias;  // null: none
    Acc* partial;         // null unless SPLIT
};

constexpr int WARPS_M = TILE_M / WARP_M, WARPS_N = TILE_N / WARP_N;
static_assert(THREADS == 32 * WARPS_M * WARPS_N, "one warp for each part of the tile");

// The block's place in the grid. Blocks that share an m-tile, whose operand is the large one, are neighbours.
struct Block {
    int m0, n0, group, split;

    DEVICE Block(int index, const Product& product) {
        n0 = split_off(index, product.n_tiles) * TILE_N;
        m0 = split_off(index, product.m_tiles) * TILE_M;
        group = split_off(index, product.groups);
        split = index;
    }
};

// The block's share of the k-tiles, [first, last).
struct Share {
    int first, last;

    DEVICE Share(int depth, int split, int splits) {
        int tiles = (depth + TILE_K - 1) / TILE_K, each = SPLIT ? (tiles + splits - 1) / splits : tiles;
        first = min(split * each, tiles);
        last = min(first + each, tiles);
    }
};

// The bias of a group's columns.
DEVICE const Element* group_bias(const Product& product, int group) {
    return product.bias ? product.bias + group * product.columns : nullptr;
}

DEVICE int lane_id() { return threadIdx.x % 32; }
DEVICE int warp_row() { return threadIdx.x / 32 % WARPS_M * WARP_M; }
DEVICE int warp_column() { return threadIdx.x / 32 / WARPS_M * WARP_N; }

// One operand's k-tile in shared memory, with either k or the row (m of A, n of B) contiguous. The padding keeps
// rows aligned to 16 bytes and the lanes that read a fragment together in different banks.
template <int ROWS, bool K_MAJOR_>
struct Image {
    static constexpr bool K_MAJOR = K_MAJOR_;
    static constexpr int PADDING =
        (sizeof(Element) == 2 || (K_MAJOR && sizeof(Element) == 4) ? 16 : 32) / sizeof(Element);
    static constexpr int LD = (K_MAJOR ? TILE_K : ROWS) + PADDING;
    static constexpr int SIZE = LD * (K_MAJOR ? ROWS : TILE_K);
    static DEVICE int at(int row, int k) { return K_MAJOR ? row * LD + k : k * LD + row; }
};

// A source's answer: where a word comes from, or zeros (`from` is then any address inside the tensor).
struct Word {
    const Element* from;
    bool valid;
};

// Moves a thread's share of an operand: asynchronously where a word has at least 4 bytes (sm_80), otherwise through
// registers, from before the multiplication that hides the latency until after it.
template <class Source>
struct Loader {
    using Bytes = Vec<Element, Source::VECTOR>;
    static constexpr bool ASYNC = HAS_CP_ASYNC && sizeof(Bytes) >= 4;
    using Image = typename Source::Image;
    Source source;
    Bytes held[ASYNC ? 1 : Source::COUNT];

    DEVICE Loader(const Source& source) : source(source) {}
    DEVICE void prepare(int k_tile) { source.prepare(k_tile); }
    DEVICE const Element* view(int, const Element* image) const { return image; }

    DEVICE void begin(int k_tile, Element* image) {
        source.seek(k_tile);
#pragma unroll
        for (int i = 0; i < Source::COUNT; ++i) {
            if (!source.covers(i)) continue;
            Word word = source.word(i);
            if constexpr (ASYNC) cp_async<sizeof(Bytes)>(image + source.slot(i), word.from, word.valid);
            else held[i] = word.valid ? *(const Bytes*)word.from : Bytes{};
        }
    }

    DEVICE void finish(int, Element* image) {
        if constexpr (!ASYNC) {
#pragma unroll
            for (int i = 0; i < Source::COUNT; ++i)
                if (source.covers(i)) *(Bytes*)(image + source.slot(i)) = held[i];
        }
    }
};

// Multiplies k-tiles [first, last) into mma's accumulators, with STAGES - 1 tiles on their way from memory.
template <class Mma, class LoaderA, class LoaderB>
DEVICE void gemm_tile(Mma& mma, LoaderA& a, LoaderB& b, int first, int last, Element* shared) {
    constexpr int SIZE_A = LoaderA::Image::SIZE, SIZE = SIZE_A + LoaderB::Image::SIZE;
    auto stage = [&](int tile) { return shared + tile % STAGES * SIZE; };
    auto begin = [&](int tile) {
        if (tile < last) a.begin(tile, stage(tile)), b.begin(tile, stage(tile) + SIZE_A);
        cp_async_commit();  // an empty group too: the waits count groups
    };
    auto finish = [&](int tile) {
        if (tile < last) a.finish(tile, stage(tile)), b.finish(tile, stage(tile) + SIZE_A);
    };

    for (int tile = first; tile < first + STAGES; ++tile) a.prepare(tile);
    __syncthreads();
    for (int tile = first; tile < first + STAGES - 1; ++tile) begin(tile), finish(tile);
    for (int tile = first; tile < last; ++tile) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // this tile has arrived, and every warp is done with the one whose stage is filled next
        begin(tile + STAGES - 1);
        a.prepare(tile + STAGES);
        mma.multiply(a.view(tile, stage(tile)), stage(tile) + SIZE_A);
        finish(tile + STAGES - 1);
    }
}

// Where C goes: to y with the bias added, or, where SPLIT blocks share the k axis, to this block's partial sums.
// place(m) is the offset of row m's first element, negative where there is none.
template <class Place>
struct Output {
    Element* y;
    Acc* partial;
    const Element* bias;
    int rows, columns, column_stride;
    Place place;

    // group: elements of y before this group's.
    DEVICE Output(const Product& product, int split, long long group, const Element* bias, int rows, int column_stride,
                  Place place)
        : y(product.y + group), partial(product.partial + split * product.output_size + group), bias(bias), rows(rows),
          columns(product.columns), column_stride(column_stride), place(place) {}

    DEVICE long long row(int m) const { return m < rows ? place(m) : -1; }

    DEVICE Element rounded(int m, int n, Acc value) const {
        if (bias) value = add_rn(value, Storage<Element>::load(bias[BIAS_ALONG_M ? m : n]));
        return Storage<Element>::store(value);
    }

    DEVICE void store(long long row, int m, int n, Acc value) const {
        if (row < 0 || n >= columns) return;
        long long at = row + (long long)n * column_stride;
        if constexpr (SPLIT) partial[at] = value;
        else y[at] = rounded(m, n, value);
    }

    // Whether what was stored is NaN.
    DEVICE bool is_nan(long long row, int n) const {
        long long at = row + (long long)n * column_stride;
        Acc value;
        if constexpr (SPLIT) value = partial[at];
        else value = Storage<Element>::load(y[at]);
        return value != value;
    }

    // Rows m and m + 1, which are neighbours in memory and aligned to both, by one store.
    DEVICE void store_pair(long long row, int m, int n, Acc first, Acc second) const {
        if (n >= columns) return;
        Vec<Element, 2> pair{{rounded(m, n, first), rounded(m + 1, n, second)}};
        *(Vec<Element, 2>*)(y + row + (long long)n * column_stride) = pair;
    }
};

// Stores the block's tile, 16 columns of each warp's part at a time, through shared memory: there the accumulators'
// layout turns into rows of 32 consecutive m. Every policy keeps columns 16s..16s+15 in acc[..][4s..4s+3]. Returns
// whether any of this lane's accumulators is NaN.
constexpr int SLAB_LD = WARP_M + 4, SLAB = 16 * SLAB_LD;

template <class Mma, class Place>
DEVICE bool store_tile(const Mma& mma, const Output<Place>& out, int m0, int n0, Element* shared) {
    cp_async_wait<0>();
    __syncthreads();
    Acc* slab = (Acc*)shared + threadIdx.x / 32 * SLAB;
    int m = m0 + warp_row(), n = n0 + warp_column();
    // A lane stores rows 32 apart; 16-bit elements, where they can be aligned to it, two by two: 128 bytes per warp.
    constexpr int ROWS = (WARP_M + 31) / 32;
    constexpr bool PAIRS = sizeof(Element) == 2 && WARP_M == 64 && !SPLIT;
    bool pairs = PAIRS && out.column_stride % 2 == 0;
    auto of_lane = [&](int i) { return pairs ? 2 * lane_id() + i : lane_id() + 32 * i; };
    bool nan = false;
    long long row[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) row[i] = of_lane(i) < WARP_M ? out.row(m + of_lane(i)) : -1;
    bool pair = pairs && row[0] >= 0 && row[ROWS - 1] == row[0] + 1 && (size_t)(out.y + row[0]) % 4 == 0;
#pragma unroll
    for (int s = 0; s < WARP_N / 16; ++s) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int i = 0; i < WARP_M / 8; ++i) {
                Acc value = mma.acc[i][4 * s + j];
                nan |= value != value;
                slab[(mma.column(4 * s + j) - 16 * s) * SLAB_LD + mma.row(i)] = value;
            }
        __syncwarp();
#pragma unroll 4
        for (int j = 0; j < 16; ++j) {
            const Acc* column = slab + j * SLAB_LD;
            int to = n + 16 * s + j;
            if constexpr (PAIRS) {
                if (pair) {
                    out.store_pair(row[0], m + of_lane(0), to, column[of_lane(0)], column[of_lane(1)]);
                    continue;
                }
            }
#pragma unroll
            for (int i = 0; i < ROWS; ++i)
                if (of_lane(i) < WARP_M) out.store(row[i], m + of_lane(i), to, column[of_lane(i)]);
        }
        __syncwarp();
    }
    return nan;
}

// What lies outside an image is multiplied as zero, and 0 * inf is NaN. So where the warp stored NaN, it adds the
// products of k in [first, last) again, but only those that exist: add(sum, m, n, k).
template <class Place, class Add>
DEVICE void mend_tile(bool nan, const Output<Place>& out, int m0, int n0, int first, int last, Add add) {
    if (!__any_sync(0xffffffffu, nan)) return;
#pragma unroll 1
    for (int i = lane_id(); i < WARP_M * WARP_N; i += 32) {
        int m = m0 + warp_row() + i % WARP_M, n = n0 + warp_column() + i / WARP_M;
        long long row = out.row(m);
        if (row < 0 || n >= out.columns || !out.is_nan(row, n)) continue;
        Acc sum = 0;
#pragma unroll 1
        for (int k = first; k < last && sum == sum; ++k) sum = add(sum, m, n, k);
        out.store(row, m, n, sum);
    }
}

// With the product of a word's first element and a factor, if there is such a word.
DEVICE Acc add_product(Acc sum, Word word, Element factor) {
    return word.valid ? fma_rn(Storage<Element>::load(*word.from), Storage<Element>::load(factor), sum) : sum;
}

#endif  // BACKSTRIDE_GEMM
