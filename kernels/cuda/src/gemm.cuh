// The one matrix product behind convolution and linear layers: C[m][n] = sum over k of A[m][k] B[k][n].
//
// m always runs along the output's contiguous axis, so a warp stores whole rows. A block computes a TILE_M x TILE_N
// tile of C in steps of TILE_K along k; each warp holds a WARP_M x WARP_N part of it in registers. What A and B are
// (an image seen through a window, weights, a matrix) is a source's business (sources.cuh), how a k-tile is
// multiplied is the multiply policy's (ffma.cuh, ...), and where C goes is the output's.
//
// #defines: the tile's extents, PIECES (whether wgmma reads the k-tiles, and still does so while the next one begins), SPLIT
// (whether blocks share the k axis), BIAS_ALONG_M (or along n), C_VECTOR (of so many rows, from a multiple of that
// number on, C's elements are aligned neighbours).
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
#define PIECES 0
#define SPLIT 0
#define BIAS_ALONG_M 0
#define C_VECTOR 1
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

// The block's place in the grid. Blocks that share an m-tile are neighbours, as A is the large operand; or, where B is,
// those that share an n-tile.
struct Block {
    int m0, n0, group, split;

    DEVICE Block(int index, const Product& product, bool large_b = false) {
        if (large_b) m0 = split_off(index, product.m_tiles) * TILE_M;
        n0 = split_off(index, product.n_tiles) * TILE_N;
        if (!large_b) m0 = split_off(index, product.m_tiles) * TILE_M;
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
#if !PIECES
template <int ROWS, bool K_MAJOR_>
struct Image {
    static constexpr bool K_MAJOR = K_MAJOR_;
    static constexpr int PADDING =
        (sizeof(Element) == 2 || (K_MAJOR && sizeof(Element) == 4) ? 16 : 32) / sizeof(Element);
    static constexpr int LD = (K_MAJOR ? TILE_K : ROWS) + PADDING;
    static constexpr int SIZE = LD * (K_MAJOR ? ROWS : TILE_K);
    static DEVICE int at(int row, int k) { return K_MAJOR ? row * LD + k : k * LD + row; }
};
#else
// The same in wgmma's pieces, of 8 rows by LD values of k or the other way round; ROW_STEP and K_STEP lead from one to
// the next. The padding keeps words that are written together in different banks.
template <int ROWS, bool K_MAJOR_>
struct Image {
    static constexpr bool K_MAJOR = K_MAJOR_;
    static constexpr int LD = 16 / sizeof(Element), RUN = K_MAJOR ? (ROWS + 2) * LD : (TILE_K + 1) * LD;
    static constexpr int ROW_STEP = K_MAJOR ? 8 * LD : RUN, K_STEP = K_MAJOR ? RUN : 8 * LD;
    static constexpr int SIZE = RUN * (K_MAJOR ? TILE_K : ROWS) / LD;
    static DEVICE int at(int row, int k) {
        return K_MAJOR ? k / LD * RUN + row * LD + k % LD : row / LD * RUN + k * LD + row % LD;
    }
};
#endif

// How many k-tiles the copies are ahead of the one that is multiplied: a stage may still be read by wgmma.
constexpr int AHEAD = STAGES - 1 - PIECES;

// A source's answer: the word that begins at `base` + `offset` or, unless it is valid, zeros; `base` itself lies inside
// the tensor.
struct Word {
    const Element* base;
    int offset;
    bool valid;

    DEVICE const Element* from() const { return base + offset; }
    DEVICE const Element* from_or_base() const { return base + only_if(valid, offset); }
};

// Moves a thread's share of an operand: asynchronously where a word has at least 4 bytes (sm_80), otherwise through
// registers, from before the multiplication that hides the latency until after it.
template <class Source>
struct Loader {
    using Bytes = Vec<Element, Source::VECTOR>;
    static constexpr bool ASYNC = HAS_CP_ASYNC && sizeof(Bytes) >= 4;
    static constexpr int AT_A_TIME = !ASYNC ? 1 : Source::COUNT < 8 ? Source::COUNT : 8;  // addresses
    using Image = typename Source::Image;
    Source source;
    Bytes held[ASYNC ? 1 : Source::COUNT];

    DEVICE Loader(const Source& source) : source(source) {}
    DEVICE void prepare(int k_tile) { source.prepare(k_tile); }
    DEVICE const Element* view(int, const Element* image) const { return image; }

    // Some addresses first, then their copies: a copy between two would hold up what the second address is read from.
    DEVICE void begin(int k_tile, Element* image) {
        source.seek(k_tile);
        Element* to = image + source.slot();
        Word words[AT_A_TIME];
#pragma unroll
        for (int first = 0; first < Source::COUNT; first += AT_A_TIME) {
#pragma unroll
            for (int j = 0; j < AT_A_TIME; ++j)
                if (has(first + j)) words[j] = source.word(first + j);
#pragma unroll
            for (int j = 0; j < AT_A_TIME; ++j)
                if (has(first + j)) fetch(first + j, words[j], to);
        }
    }

    DEVICE bool has(int i) const { return i < Source::COUNT && source.covers(i); }

    DEVICE void fetch(int i, const Word& word, Element* to) {
        if constexpr (ASYNC) cp_async<sizeof(Bytes)>(to + i * Source::PITCH, word.from_or_base(), word.valid);
        else held[i] = load_if(word.valid, (const Bytes*)word.from());
    }

    DEVICE void finish(int, Element* image) {
        if constexpr (!ASYNC) {
#pragma unroll
            for (int i = 0; i < Source::COUNT; ++i)
                if (source.covers(i)) *(Bytes*)(image + source.slot() + i * Source::PITCH) = held[i];
        }
    }
};

// Multiplies k-tiles [first, last) into mma's accumulators, with AHEAD tiles on their way from memory.
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

    for (int tile = first; tile <= first + AHEAD; ++tile) a.prepare(tile), b.prepare(tile);
    __syncthreads();
    for (int tile = first; tile < first + AHEAD; ++tile) begin(tile), finish(tile);
    mma.start();
    for (int tile = first; tile < last; ++tile) {
        cp_async_wait<AHEAD - 1>();
        if constexpr (PIECES) fence_for_wgmma();
        __syncthreads();  // this tile has arrived, and every warp is done with the one whose stage is filled next
        begin(tile + AHEAD);
        a.prepare(tile + AHEAD + 1), b.prepare(tile + AHEAD + 1);
        mma.multiply(a.view(tile, stage(tile)), stage(tile) + SIZE_A);
        finish(tile + AHEAD);
    }
    mma.finish();
}

constexpr unsigned INFINITY_BITS = 0x7f800000u;

// What a multiply policy says of its accumulators.
struct Plain {
    static constexpr bool OVERFLOWS = false;  // whether sums may not be finite though those of float32 are
    static DEVICE Acc result(Acc sum) { return sum; }
};

// Whether a sum, or what was made of it, has to be added again (mend_tile).
template <class Mma>
DEVICE bool spoiled(Acc value) {
    if constexpr (Mma::OVERFLOWS) return (__float_as_uint(value) & INFINITY_BITS) == INFINITY_BITS;
    else return value != value;
}

// Columns that are `stride` elements apart.
struct Strided {
    static constexpr bool GAPS = false;  // whether along(n) may be negative, where there is no column n
    int stride;

    DEVICE Strided(int stride) : stride(stride) {}
    DEVICE long long operator()(int n) const { return (long long)n * stride; }
};

// Where C goes: to y with the bias added, or, where SPLIT blocks share the k axis, to this block's partial sums.
// place(m) is the offset of row m's first element, negative where there is none, and along(n) what column n adds to it.
template <class Place, class Along = Strided>
struct Output {
    Element* y;
    Acc* partial;
    const Element* bias;
    int rows, columns;
    Along along;
    Place place;

    // group: elements of y before this group's.
    DEVICE Output(const Product& product, int split, long long group, const Element* bias, int rows, Along along,
                  Place place)
        : y(product.y + group), partial(product.partial + split * product.output_size + group),
          bias(SPLIT ? nullptr : bias), rows(rows), columns(product.columns), along(along), place(place) {}

    DEVICE long long row(int m) const { return m < rows ? place(m) : -1; }

    DEVICE bool has(long long row, int n) const {
        if constexpr (Along::GAPS) return row >= 0 && n < columns && along(n) >= 0;
        else return row >= 0 && n < columns;
    }

    // What is added to row m or, unless BIAS_ALONG_M, column n; -0 changes nothing.
    DEVICE Acc bias_of(int i) const {
        return bias && i < (BIAS_ALONG_M ? rows : columns) ? Storage<Element>::load(bias[i]) : Acc(-0.0);
    }

    // N neighbours of column n, the first of them at `row`.
    template <int N>
    DEVICE void store(long long row, int n, const Vec<Acc, N>& values) const {
        if (!has(row, n)) return;
        long long at = row + along(n);
        if constexpr (SPLIT) {
            *(Vec<Acc, N>*)(partial + at) = values;
        } else {
            Vec<Element, N> word;
#pragma unroll
            for (int i = 0; i < N; ++i) word.at[i] = Storage<Element>::store(values.at[i]);
            *(Vec<Element, N>*)(y + at) = word;
        }
    }

    // What was stored.
    DEVICE Acc stored(long long row, int n) const {
        long long at = row + along(n);
        if constexpr (SPLIT) return partial[at];
        else return Storage<Element>::load(y[at]);
    }
};

// N numbers from shared memory, by words of at most 16 bytes.
template <int N>
DEVICE Vec<Acc, N> load_words(const Acc* from) {
    constexpr int WORD = N < 16 / (int)sizeof(Acc) ? N : 16 / sizeof(Acc);
    Vec<Acc, N> to;
#pragma unroll
    for (int i = 0; i < N; i += WORD) *(Vec<Acc, WORD>*)(to.at + i) = *(const Vec<Acc, WORD>*)(from + i);
    return to;
}

// Stores the block's tile, 16 columns of each warp's part at a time, through shared memory: there the accumulators'
// layout turns into words of C_VECTOR consecutive rows. Every policy keeps columns 16s..16s+15 in acc[..][4s..4s+3].
// Returns whether any of this lane's accumulators is spoiled.
constexpr int SLAB_LD = WARP_M + 4, SLAB = 16 * SLAB_LD;

template <class Mma, class Place, class Along>
DEVICE bool store_tile(const Mma& mma, const Output<Place, Along>& out, int m0, int n0, Element* shared) {
    cp_async_wait<0>();
    __syncthreads();
    Acc* slab = (Acc*)shared + threadIdx.x / 32 * SLAB;
    int m = m0 + warp_row(), n = n0 + warp_column();
    // A warp stores so many words of a column, or of several; a lane's words are in the same rows each time.
    constexpr int WORDS = WARP_M / C_VECTOR, LANES = WORDS < 32 ? WORDS : 32, EACH = (WORDS + 31) / 32;
    constexpr int COLUMNS = 32 / LANES, PASSES = 16 / COLUMNS, AT_A_TIME = PASSES < 4 ? PASSES : 4;
    auto of_lane = [&](int i) { return (lane_id() % LANES + 32 * i) * C_VECTOR; };
    bool again = false;
    long long row[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) row[i] = of_lane(i) < WARP_M ? out.row(m + of_lane(i)) : -1;
    Acc bias_of_row[WARP_M / 8];
#pragma unroll
    for (int i = 0; i < WARP_M / 8; ++i) bias_of_row[i] = BIAS_ALONG_M ? out.bias_of(m + mma.row(i)) : Acc(-0.0);
#pragma unroll
    for (int s = 0; s < WARP_N / 16; ++s) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            int column = mma.column(4 * s + j);
            Acc bias = BIAS_ALONG_M ? Acc(-0.0) : out.bias_of(n + column);
#pragma unroll
            for (int i = 0; i < WARP_M / 8; ++i) {
                Acc sum = mma.acc[i][4 * s + j];
                again |= spoiled<Mma>(sum);
                sum = add_rn(Mma::result(sum), BIAS_ALONG_M ? bias_of_row[i] : bias);
                slab[(column - 16 * s) * SLAB_LD + mma.row(i)] = sum;
            }
        }
        __syncwarp();
#pragma unroll
        for (int first = 0; first < PASSES; first += AT_A_TIME) {
            Vec<Acc, C_VECTOR> words[AT_A_TIME][EACH];
            int column = first * COLUMNS + lane_id() / LANES;
#pragma unroll
            for (int j = 0; j < AT_A_TIME * EACH; ++j)
                if (of_lane(j % EACH) < WARP_M)
                    words[j / EACH][j % EACH] =
                        load_words<C_VECTOR>(slab + (column + j / EACH * COLUMNS) * SLAB_LD + of_lane(j % EACH));
#pragma unroll
            for (int j = 0; j < AT_A_TIME * EACH; ++j)
                if (of_lane(j % EACH) < WARP_M)
                    out.store(row[j % EACH], n + 16 * s + column + j / EACH * COLUMNS, words[j / EACH][j % EACH]);
        }
        __syncwarp();
    }
    return again;
}

// What lies outside an image is multiplied as zero, and 0 * inf is NaN; and a policy may overflow. So where the warp
// stored what is spoiled, it adds the products of k in [first, last) again, but only those that exist:
// add(sum, m, n, k).
template <class Mma, class Place, class Along, class Add>
DEVICE void mend_tile(const Mma&, bool again, const Output<Place, Along>& out, int m0, int n0, int first, int last,
                      Add add) {
    if (!__any_sync(0xffffffffu, again)) return;
#pragma unroll 1
    for (int i = lane_id(); i < WARP_M * WARP_N; i += 32) {
        int m = m0 + warp_row() + i % WARP_M, n = n0 + warp_column() + i / WARP_M;
        long long row = out.row(m);
        if (!out.has(row, n) || !spoiled<Mma>(out.stored(row, n))) continue;
        Acc sum = 0;
#pragma unroll 1
        for (int k = first; k < last && sum == sum; ++k) sum = add(sum, m, n, k);
        out.store(row, n, Vec<Acc, 1>{{add_rn(sum, out.bias_of(BIAS_ALONG_M ? m : n))}});
    }
}

// sum + a b.
DEVICE Acc add_product(Acc sum, Element a, Element b) {
    return fma_rn(Storage<Element>::load(a), Storage<Element>::load(b), sum);
}

// The same with a word's first element, if there is such a word.
DEVICE Acc add_product(Acc sum, Word word, Element factor) {
    return word.valid ? add_product(sum, *word.from(), factor) : sum;
}

#endif  // BACKSTRIDE_GEMM
