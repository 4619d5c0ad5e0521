// Operands of gemm.cuh that are images seen through a window and whose channels come last: x is (N, [D,] H, W, C), y is
// (N, [Z,] P, Q, K), and a group's weights are (K/groups, [T,] R, S, C/groups). A word is VECTOR neighbouring channels
// that one tap reads for one pixel: as the host chose VECTOR, it belongs to no other tap.
#ifndef BACKSTRIDE_CHANNELS_LAST_IMAGE
#define BACKSTRIDE_CHANNELS_LAST_IMAGE

#include "windowed_image.cuh"

// What is added to a tap's place: which image, and where the pixel's window begins in it.
struct alignas(16) Corner {
    int image, offset, row, column;
#if AXES == 3
    int slice;
#endif
};

struct ChannelsLastImage {
    const Element* x;  // the first of the group's channels
    long long image;   // elements from one image to the next
    int pixels, depth;
    int channels;            // of all groups
    FastDiv group_channels;  // of each
    Window window;

    DEVICE Corner corner(int i) const {
        if (i >= pixels) return {0, 0, OUTSIDE, OUTSIDE};
        int q = split_off(i, window.Q), p = split_off(i, window.P);
        int row = p * window.stride_h - window.top, column = q * window.stride_w - window.left;
#if AXES == 3
        int slice = split_off(i, window.Z) * window.stride_d - window.front;
        return {i, ((slice * window.H + row) * window.W + column) * channels, row, column, slice};
#else
        return {i, (row * window.W + column) * channels, row, column};
#endif
    }

    // Of depth's order: taps, and of each the group's channels.
    DEVICE Tap tap(int i) const {
        if (i >= depth) return {0, OUTSIDE, OUTSIDE};
        int channel = split_off(i, group_channels), s = split_off(i, window.S);
#if AXES == 3
        int r = split_off(i, window.R), slice = i * window.dilation_d;
#else
        int r = i;
#endif
        int row = r * window.dilation_h, column = s * window.dilation_w;
#if AXES == 3
        return {((slice * window.H + row) * window.W + column) * channels + channel, row, column, slice};
#else
        return {(row * window.W + column) * channels + channel, row, column};
#endif
    }

    DEVICE Word word(const Corner& at, const Tap& tap) const {
        bool valid = (unsigned)(at.row + tap.row) < (unsigned)window.H;  // by & rather than &&, which would branch
        valid &= (unsigned)(at.column + tap.column) < (unsigned)window.W;
#if AXES == 3
        valid &= (unsigned)(at.slice + tap.slice) < (unsigned)window.D;
#endif
        return {x + at.image * image, at.offset + tap.offset, valid};
    }

    DEVICE Word word(int pixel, int tap_number) const { return word(corner(pixel), tap(tap_number)); }
};

// Channels of x and filters, of all groups; elements of an image of x.
struct ChannelsLast {
    int C, K;
    FastDiv group_channels;
    long long image_x;
};

DEVICE ChannelsLastImage channels_last_image(const Element* x, const ChannelsLast& channels, int group, int pixels,
                                             int depth, const Window& window) {
    const FastDiv& each = channels.group_channels;
    return {x + group * (int)each.divisor, channels.image_x, pixels, depth, channels.C, each, window};
}

// Rows are pixels and k runs over taps and channels: the block's pixels are worked out once, the words' taps once per
// k-tile.
template <int ROWS, int VECTOR_>
struct CornerRows {
    using Image = ::Image<ROWS, true>;
    static constexpr int VECTOR = VECTOR_, WORDS = TILE_K / VECTOR, STEP = THREADS / WORDS;
    static constexpr int COUNT = (ROWS + STEP - 1) / STEP;
    static_assert(STEP * WORDS == THREADS, "as many threads for each row");
    struct Tables {
        Corner corners[ROWS];
        Tap taps[STAGES][WORDS];
    };
    const ChannelsLastImage& image;
    Tables& tables;
    Tap tap;

    // The tables are read after the barrier that follows prepare.
    DEVICE CornerRows(const ChannelsLastImage& image, Tables& tables, int row0) : image(image), tables(tables) {
        for (int i = threadIdx.x; i < ROWS; i += THREADS) tables.corners[i] = image.corner(row0 + i);
    }

    DEVICE int row(int i) const { return threadIdx.x / WORDS + i * STEP; }
    DEVICE int k() const { return threadIdx.x % WORDS * VECTOR; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(row(0), k()); }
    DEVICE bool covers(int i) const { return COUNT * STEP == ROWS || row(i) < ROWS; }
    DEVICE void prepare(int k_tile) {
        if (threadIdx.x < WORDS)
            tables.taps[k_tile % STAGES][threadIdx.x] = image.tap(k_tile * TILE_K + threadIdx.x * VECTOR);
    }
    DEVICE void seek(int k_tile) { tap = tables.taps[k_tile % STAGES][threadIdx.x % WORDS]; }
    DEVICE Word word(int i) const { return image.word(tables.corners[row(i)], tap); }
};

// Rows are taps and channels and k runs over pixels: a thread keeps its tap; the k-tile's pixels are worked out once
// per block.
template <int ROWS, int VECTOR_>
struct ChannelRows {
    using Image = ::Image<ROWS, false>;
    static constexpr int VECTOR = VECTOR_, WORDS = ROWS / VECTOR, STEP = THREADS / WORDS, COUNT = TILE_K / STEP;
    static_assert(STEP * WORDS == THREADS && COUNT * STEP == TILE_K, "the threads cover the image evenly");
    using Table = Corner[STAGES][TILE_K];
    const ChannelsLastImage& image;
    Table& table;
    Tap tap;
    const Corner* corners = nullptr;

    DEVICE ChannelRows(const ChannelsLastImage& image, Table& table, int row0)
        : image(image), table(table), tap(image.tap(row0 + threadIdx.x % WORDS * VECTOR)) {}

    DEVICE int k(int i) const { return threadIdx.x / WORDS + i * STEP; }
    static constexpr int PITCH = STEP * Image::LD;
    DEVICE int slot() const { return Image::at(threadIdx.x % WORDS * VECTOR, k(0)); }
    DEVICE bool covers(int) const { return true; }
    DEVICE void prepare(int k_tile) {
        if (threadIdx.x < TILE_K) table[k_tile % STAGES][threadIdx.x] = image.corner(k_tile * TILE_K + threadIdx.x);
    }
    DEVICE void seek(int k_tile) { corners = table[k_tile % STAGES]; }
    DEVICE Word word(int i) const { return image.word(corners[k(i)], tap); }
};

#endif  // BACKSTRIDE_CHANNELS_LAST_IMAGE
