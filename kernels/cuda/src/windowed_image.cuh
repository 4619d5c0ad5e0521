// Operands of gemm.cuh that are images seen through a window, along two axes or three: x is (N, C, [D,] H, W), a window
// has ([T,] R, S) taps and y is (N, K, [Z,] P, Q).
#ifndef BACKSTRIDE_WINDOWED_IMAGE
#define BACKSTRIDE_WINDOWED_IMAGE

#include "sources.cuh"

#ifndef AXES
#define AXES 2
#endif

// A convolution: H x W inputs, P x Q outputs, R x S taps; along a third axis D, Z and T, which otherwise are 1. What
// belongs to it comes last, in every struct: the code for two axes is what it would be without.
struct Window {
    int H, W;
    FastDiv P, Q, R, S;
    int stride_h, stride_w, top, left, dilation_h, dilation_w;
    int D;
    FastDiv Z, T;
    int stride_d, front, dilation_d;
};

// Elements of x and y: of one channel, of an image, and of one group's part of it.
struct Images {
    FastDiv plane_y;
    long long image_x, image_y;
    int group_x, group_y, plane_x;
};

// The element that tap (c, r, s) reads for pixel (n, p, q) is x[n, c, p*stride_h - top + r*dilation_h, ...]: a part
// that depends on the pixel plus one that depends on the tap. OUTSIDE makes any sum fall outside the image. `slice` is
// the place along the third axis.
struct Pixel {
    const Element* image;
    int offset, row, column;
#if AXES == 3
    int slice;
#endif
};
struct alignas(16) Tap {
    int offset, row, column;
#if AXES == 3
    int slice;
#endif
};
constexpr int OUTSIDE = -(1 << 30);

// What tap `tap` reads for a pixel, if it lies inside the image.
DEVICE Word window_word(const Pixel& pixel, const Tap& tap, int D, int H, int W) {
    bool valid = (unsigned)(pixel.row + tap.row) < (unsigned)H;  // by & rather than &&, which would branch
    valid &= (unsigned)(pixel.column + tap.column) < (unsigned)W;
#if AXES == 3
    valid &= (unsigned)(pixel.slice + tap.slice) < (unsigned)D;
#endif
    return {pixel.image, pixel.offset + tap.offset, valid};
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
#if AXES == 3
        int slice = split_off(i, window.Z) * window.stride_d - window.front;
        return {x + i * image, (slice * window.H + row) * window.W + column, row, column, slice};
#else
        return {x + i * image, row * window.W + column, row, column};
#endif
    }

    DEVICE Tap tap(int i) const {
        if (i >= depth) return {0, OUTSIDE, OUTSIDE};
        int s = split_off(i, window.S), r = split_off(i, window.R);
        int row = r * window.dilation_h, column = s * window.dilation_w;
#if AXES == 3
        int slice = split_off(i, window.T) * window.dilation_d;
        return {((i * window.D + slice) * window.H + row) * window.W + column, row, column, slice};
#else
        return {(i * window.H + row) * window.W + column, row, column};
#endif
    }

    DEVICE Word word(int pixel_number, int tap_number) const {
        return window_word(pixel(pixel_number), tap(tap_number), window.D, window.H, window.W);
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
    int D, H, W;
    const Tap* taps = nullptr;

    DEVICE PixelRows(const WindowedImage& image, Table& table, int row0)
        : image(image), table(table), pixel(image.pixel(row0 + row())), D(image.window.D), H(image.window.H),
          W(image.window.W) {}

    DEVICE int row() const { return threadIdx.x % WORDS * VECTOR; }
    DEVICE int k(int i) const { return threadIdx.x / WORDS + i * STEP; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(row(), k(0)); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int k_tile) {
        if (threadIdx.x < TILE_K) table[k_tile % STAGES][threadIdx.x] = image.tap(k_tile * TILE_K + threadIdx.x);
    }
    DEVICE void seek(int k_tile) { taps = table[k_tile % STAGES]; }
    DEVICE Word word(int i) const { return window_word(pixel, taps[k(i)], D, H, W); }
};

// Rows are taps and k runs over pixels: the block's taps are worked out once, a thread's pixels once per k-tile.
template <int ROWS, int VECTOR_>
struct TapRows {
    using Image = ::Image<ROWS, true>;
    static constexpr int VECTOR = VECTOR_, WORDS = TILE_K / VECTOR, STEP = THREADS / WORDS, COUNT = ROWS / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == ROWS, "the threads cover the image evenly");
    using Table = Tap[ROWS];
    const WindowedImage image;
    Table& taps;
    Pixel pixel;

    // The table is read after the barrier that follows prepare.
    DEVICE TapRows(const WindowedImage& image, Table& table, int row0) : image(image), taps(table) {
        for (int i = threadIdx.x; i < ROWS; i += THREADS) taps[i] = image.tap(row0 + i);
    }

    DEVICE int row(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int k() const { return threadIdx.x % WORDS * VECTOR; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(row(0), k()); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int) {}
    DEVICE void seek(int k_tile) { pixel = image.pixel(k_tile * TILE_K + k()); }
    DEVICE Word word(int i) const {
        return window_word(pixel, taps[row(i)], image.window.D, image.window.H, image.window.W);
    }
};

#endif  // BACKSTRIDE_WINDOWED_IMAGE
