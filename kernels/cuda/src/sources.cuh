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

// --- images seen through a window ---------------------------------------------------------------------------------

// A convolution: H x W inputs, P x Q outputs, R x S taps.
struct Window {
    int H, W;
    FastDiv P, Q, R, S;
    int stride_h, stride_w, top, left, dilation_h, dilation_w;
};

// Elements of x and y: of one channel's plane, of an image, and of one group's part of it.
struct Images {
    FastDiv plane_y;
    long long image_x, image_y;
    int group_x, group_y, plane_x;
};

// The element that tap (c, r, s) reads for pixel (n, p, q) is x[n, c, p*stride_h - top + r*dilation_h, ...]: a part
// that depends on the pixel plus one that depends on the tap. `outside` makes any sum fall outside the image.
struct Pixel {
    const Element* image;
    int offset, row, column;
};
struct alignas(16) Tap {
    int offset, row, column;
};
constexpr int OUTSIDE = -(1 << 30);

// What tap `tap` reads for a pixel, if it lies inside the image.
DEVICE Word window_word(const Pixel& pixel, const Tap& tap, int H, int W) {
    bool valid = (unsigned)(pixel.row + tap.row) < (unsigned)H && (unsigned)(pixel.column + tap.column) < (unsigned)W;
    return {pixel.image + (valid ? pixel.offset + tap.offset : 0), valid};
}

struct WindowedImage {
    const Element* x;
    long long image;  // elements from one image to the next
    int pixels, depth;
    Window window;

    DEVICE Pixel pixel(int i) const {
        if (i >= pixels) return {x, 0, OUTSIDE, OUTSIDE};
        int q = split_off(i, window.Q), p = split_off(i, window.P);
        int row = p * window.stride_h - window.top, column = q * window.stride_w - window.left;
        return {x + i * image, row * window.W + column, row, column};
    }

    DEVICE Tap tap(int i) const {
        if (i >= depth) return {0, OUTSIDE, OUTSIDE};
        int s = split_off(i, window.S), r = split_off(i, window.R);
        int row = r * window.dilation_h, column = s * window.dilation_w;
        return {(i * window.H + row) * window.W + column, row, column};
    }

    DEVICE Word word(int pixel_number, int tap_number) const {
        return window_word(pixel(pixel_number), tap(tap_number), window.H, window.W);
    }
};

// A word is VECTOR neighbouring pixels of one row, and what a tap reads for them: as the host chose VECTOR, that is
// aligned, and wholly inside a row of the image or wholly outside.

// Rows are pixels and k runs over taps: a thread keeps its pixels; the k-tile's taps are worked out once per block.
template <int ROWS, int VECTOR_>
struct PixelRows {
    using Image = ::Image<ROWS, false>;
    static constexpr int VECTOR = VECTOR_, WORDS = ROWS / VECTOR, STEP = THREADS / WORDS, COUNT = TILE_K / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == TILE_K, "the threads cover the image evenly");
    using Table = Tap[STAGES][TILE_K];
    const WindowedImage& image;
    Table& table;
    Pixel pixel;
    int H, W;
    const Tap* taps = nullptr;

    DEVICE PixelRows(const WindowedImage& image, Table& table, int row0)
        : image(image), table(table), pixel(image.pixel(row0 + row())), H(image.window.H), W(image.window.W) {}

    DEVICE int row() const { return threadIdx.x % WORDS * VECTOR; }
    DEVICE int k(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int slot(int i) const { return Image::at(row(), k(i)); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int k_tile) {
        if (threadIdx.x < TILE_K) table[k_tile % STAGES][threadIdx.x] = image.tap(k_tile * TILE_K + threadIdx.x);
    }
    DEVICE void seek(int k_tile) { taps = table[k_tile % STAGES]; }
    DEVICE Word word(int i) const { return window_word(pixel, taps[k(i)], H, W); }
};

// Rows are taps and k runs over pixels: the block's taps are worked out once, a thread's pixels once per k-tile.
template <int ROWS, int VECTOR_>
struct TapRows {
    using Image = ::Image<ROWS, true>;
    static constexpr int VECTOR = VECTOR_, WORDS = TILE_K / VECTOR, STEP = THREADS / WORDS, COUNT = ROWS / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == ROWS, "the threads cover the image evenly");
    using Table = Tap[ROWS];
    const WindowedImage& image;
    Table& taps;
    Pixel pixel;

    // The table is read after the barrier that follows prepare.
    DEVICE TapRows(const WindowedImage& image, Table& table, int row0) : image(image), taps(table) {
        for (int i = threadIdx.x; i < ROWS; i += THREADS) taps[i] = image.tap(row0 + i);
    }

    DEVICE int row(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int k() const { return threadIdx.x % WORDS * VECTOR; }
    DEVICE int slot(int i) const { return Image::at(row(i), k()); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int) {}
    DEVICE void seek(int k_tile) { pixel = image.pixel(k_tile * TILE_K + k()); }
    DEVICE Word word(int i) const { return window_word(pixel, taps[row(i)], image.window.H, image.window.W); }
};

#endif  // BACKSTRIDE_SOURCES
