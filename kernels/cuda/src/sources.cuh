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
    const Element* first;  // this thread's first row
    Offset offset;
    int depth, rows;    // rows: from the first one to the end
    long long advance;  // elements from one of its rows to the next
    const Element* next = nullptr;
    bool inside = false;

    DEVICE KMajor(const Element* base, int row0, int rows, int depth, int stride, Offset offset)
        : offset(offset), depth(depth), rows(rows - row0 - row(0)), advance((long long)STEP * stride) {
        first = base + (this->rows > 0 ? (long long)(row0 + row(0)) * stride : 0);
    }

    DEVICE int row(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int k() const { return threadIdx.x % WORDS * VECTOR; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(row(0), k()); }
    DEVICE bool covers(int i) const { return COUNT * STEP == ROWS || row(i) < ROWS; }
    DEVICE void prepare(int) {}

    DEVICE void seek(int k_tile) {
        int at = k_tile * TILE_K + k();
        long long along = offset(min(at, depth - 1));
        inside = (at < depth) & (along >= 0);
        next = first + (inside ? along : 0);
    }

    DEVICE Word word(int i) {
        bool valid = inside & (i * STEP < rows);
        Word word{next, 0, valid};
        if ((i + 1) * STEP < rows) next += advance;
        return word;
    }
};

// along = m or n: an image whose rows are contiguous; `stride` is that of k.
template <int ROWS, int VECTOR_, class Offset>
struct RowMajor {
    using Image = ::Image<ROWS, false>;
    static constexpr int VECTOR = VECTOR_, WORDS = ROWS / VECTOR, STEP = THREADS / WORDS, COUNT = TILE_K / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == TILE_K, "the threads cover the image evenly");
    int depth, stride, k0 = 0;
    bool inside;
    const Element* row;

    DEVICE RowMajor(const Element* base, int row0, int rows, int depth, int stride, Offset offset)
        : depth(depth), stride(stride) {
        int r = row0 + threadIdx.x % WORDS * VECTOR;
        inside = r < rows;
        row = base + (inside ? offset(r) : 0);
    }

    DEVICE int k(int i) const { return threadIdx.x / WORDS + i * STEP; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(threadIdx.x % WORDS * VECTOR, k(0)); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int) {}
    DEVICE void seek(int k_tile) { k0 = k_tile * TILE_K; }

    DEVICE Word word(int i) {
        int at = k0 + k(i);
        bool valid = inside & (at < depth);
        return {row + (long long)min(at, depth - 1) * stride, 0, valid};
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
