// Where the operands of gemm.cuh come from. A source knows its shared-memory Image and, for each of the COUNT words
// of VECTOR elements that a thread moves per k-tile, the word's address in memory (asked for in order) and its slot in
// the image.
// covers(i) says whether there is a word i at all, where the threads do not cover the image evenly.
// prepare(t) may fill shared tables that seek(t) and word(i) read after the next barrier.
#ifndef BACKSTRIDE_SOURCES
#define BACKSTRIDE_SOURCES

#include "gemm.cuh"

// --- matrices: the element at (row, along) is base[row * stride + offset(along)], contiguous within a word -------
// A negative offset: there is none.

// along = k: a k-major image.
template <int ROWS, int VECTOR_, class Offset>
struct KMajor {
    using Image = ::Image<ROWS, true>;
    static constexpr int VECTOR = VECTOR_, WORDS = TILE_K / VECTOR, STEP = THREADS / WORDS;
    static constexpr int COUNT = (ROWS + STEP - 1) / STEP;
    static_assert(STEP * WORDS == THREADS, "as many threads for each row");
    const Element* base;
    Offset offset;
    int depth, rows;           // rows: from this thread's first one to the end
    long long first, advance;  // elements to this thread's first row, and from one of its rows to the next
    const Element* next = nullptr;

    DEVICE KMajor(const Element* base, int row0, int rows, int depth, int stride, Offset offset)
        : base(base), offset(offset), depth(depth), rows(rows - row0 - row(0)),
          first((long long)(row0 + row(0)) * stride), advance((long long)STEP * stride) {}

    DEVICE int row(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int k() const { return threadIdx.x % WORDS * VECTOR; }
    DEVICE int slot(int i) const { return Image::at(row(i), k()); }
    DEVICE bool covers(int i) const { return COUNT * STEP == ROWS || row(i) < ROWS; }
    DEVICE void prepare(int) {}

    DEVICE void seek(int k_tile) {
        int at = k_tile * TILE_K + k();
        long long along = at < depth ? offset(at) : -1;
        next = along >= 0 ? base + first + along : nullptr;
    }

    DEVICE Word word(int i) {
        Word word{next, next && i * STEP < rows};
        if (word.valid) next += advance;
        else word.from = base;
        return word;
    }
};

// along = m or n: an image whose rows are contiguous; `stride` is that of k.
template <int ROWS, int VECTOR_, class Offset>
struct RowMajor {
    using Image = ::Image<ROWS, false>;
    static constexpr int VECTOR = VECTOR_, WORDS = ROWS / VECTOR, STEP = THREADS / WORDS, COUNT = TILE_K / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == TILE_K, "the threads cover the image evenly");
    const Element* base;
    int depth, stride, k0 = 0;
    const Element* row;  // null past the last row

    DEVICE RowMajor(const Element* base, int row0, int rows, int depth, int stride, Offset offset)
        : base(base), depth(depth), stride(stride) {
        int r = row0 + threadIdx.x % WORDS * VECTOR;
        row = r < rows ? base + offset(r) : nullptr;
    }

    DEVICE int k(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int slot(int i) const { return Image::at(threadIdx.x % WORDS * VECTOR, k(i)); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int) {}
    DEVICE void seek(int k_tile) { k0 = k_tile * TILE_K; }

    DEVICE Word word(int i) {
        int at = k0 + k(i);
        bool valid = row && at < depth;
        return {valid ? row + (long long)at * stride : base, valid};
    }
};

// The axis is contiguous in memory.
struct Contiguous {
    DEVICE long long operator()(int i) const { return i; }
};

// The axis runs over the pixels of all images; `image` elements from one image to the next.
struct ByImage {
    FastDiv pixels;
    long long image;

    DEVICE long long operator()(int i) const {
        int pixel = split_off(i, pixels);
        return i * image + pixel;
    }
};

#endif  // BACKSTRIDE_SOURCES
