// The A operand of a convolution whose windows overlap: a block's output pixels are TILE_M / TILE_COLUMNS rows by
// TILE_COLUMNS columns, and the input pixels they read, the halo, lie in shared memory as [pixel][channel]. Each is
// fetched once for all taps, and a tap is a shift of the addresses that ldmatrix gets.
//
// Output rows are numbered through all images. Each image has reach rows of input, from the first that a window may
// read (perhaps padding) to the last, and these are numbered through all images too: a halo is a run of them.
#ifndef BACKSTRIDE_HALO
#define BACKSTRIDE_HALO

#include "mma.cuh"
#include "sources.cuh"

constexpr int TILE_ROWS = TILE_M / TILE_COLUMNS, PIXEL_LD = TILE_K + GROUP;

struct HaloWindow {
    const Element* x;
    long long image;  // elements from one image to the next
    int N, H, W, channels, stride_h, stride_w, top, left, dilation_h, dilation_w;
    FastDiv P, reach, S, taps, pixels, columns;  // pixels, columns: of a halo
};

// What multiply reads: where this lane's rows are for the current tap.
struct HaloView {
    const Element* tap;
    const int* rows;
};

template <class Image>
DEVICE void load_a(unsigned (&f)[4], const HaloView& view, int i, int pair) {
    ldmatrix_x4(f, view.tap + view.rows[i] + 2 * pair * GROUP);
}

// k-tile t is tap t % taps of the channel block t / taps, which is TILE_K channels. While one block's taps are
// multiplied the next block's halo is fetched, a part with each tap; a word is GROUP channels of one pixel.
struct Halo {
    struct Image { static constexpr int SIZE = 0; static constexpr bool K_MAJOR = true; };  // it has its own place
    const HaloWindow& window;
    Element* halos;  // of the even and of the odd channel blocks
    int first_tile, last_block, first_row, first_column;
    int rows[WARP_M / 16];
    int word = -1, next = 0;  // the word on its way, if any, to the halo of block `next`
    Vec<Element, GROUP> held;

    DEVICE Halo(const HaloWindow& window, Element* halos, int row0, int column0, int first_block, int last_block)
        : window(window), halos(halos), first_tile(first_block * (int)window.taps.divisor), last_block(last_block),
          first_row(input_row(row0)), first_column(column0 * window.stride_w - window.left) {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; ++i) {
            int m = warp_row() + 16 * i + lane_id() % 16;
            int row = input_row(row0 + m / TILE_COLUMNS) - first_row, column = m % TILE_COLUMNS * window.stride_w;
            rows[i] = (row * (int)window.columns.divisor + column) * PIXEL_LD + lane_id() / 16 * GROUP;
        }
        for (int part = 0; part * THREADS < words() && first_block < last_block; ++part) fetch(part, first_block), put();
    }

    // The number of the first input row that an output row's window reads.
    DEVICE int input_row(int row) const {
        int p = split_off(row, window.P);
        return row * (int)window.reach.divisor + p * window.stride_h;
    }

    DEVICE int words() const { return window.pixels.divisor * GROUPS; }
    DEVICE Element* halo(int block) const { return halos + block % 2 * (int)window.pixels.divisor * PIXEL_LD; }

    DEVICE void fetch(int part, int block) {
        int group = part * THREADS + threadIdx.x;
        word = group < words() ? group : -1;
        next = block;
        if (word < 0) return;
        int n = split_off(group, window.pixels), channel = block * TILE_K + group * GROUP;
        int column = first_column + split_off(n, window.columns);
        n += first_row;
        int row = split_off(n, window.reach) - window.top, plane = window.H * window.W;
        bool inside = n < window.N && (unsigned)row < (unsigned)window.H && (unsigned)column < (unsigned)window.W;
        const Element* from = window.x + (inside ? n * window.image + channel * plane + row * window.W + column : 0);
#pragma unroll
        for (int i = 0; i < GROUP; ++i)
            held.at[i] = inside && channel + i < window.channels ? from[i * plane] : Element{};
    }

    DEVICE void put() {
        if (word < 0) return;
        int group = word, pixel = split_off(group, window.pixels);
        *(Vec<Element, GROUP>*)(halo(next) + pixel * PIXEL_LD + group * GROUP) = held;
    }

    DEVICE void prepare(int) {}

    // The main loop runs STAGES - 1 tiles ahead; the other halo is free from the first tap of this block on.
    DEVICE void begin(int ahead, Element*) {
        int block = ahead - (STAGES - 1);
        bool started = block >= first_tile;
        int part = split_off(block, window.taps);
        word = -1;
        if (started && block + 1 < last_block) fetch(part, block + 1);
    }

    DEVICE void finish(Element*) { put(); }

    DEVICE HaloView view(int block, const Element*) const {
        int r = split_off(block, window.taps), s = split_off(r, window.S);
        int shift = r * window.dilation_h * (int)window.columns.divisor + s * window.dilation_w;
        return {halo(block) + shift * PIXEL_LD, rows};
    }
};

// The packed weights [tap][filter][channel] in the order of k-tiles; `channels` is a multiple of TILE_K.
struct PackedTaps {
    FastDiv taps;
    int filters, channels;

    DEVICE long long operator()(int k) const {
        int block = k / TILE_K, tap = split_off(block, taps);
        return (long long)tap * filters * channels + block * TILE_K + k % TILE_K;
    }
};

// Where the block's output pixels lie; m counts them within the block.
struct HaloPixels {
    int row0, column0, rows, columns;
    FastDiv P;
    long long image;

    DEVICE long long operator()(int m) const {
        int n = row0 + m / TILE_COLUMNS, q = column0 + m % TILE_COLUMNS;
        if (n >= rows || q >= columns) return -1;
        int p = split_off(n, P);
        return n * image + p * columns + q;
    }
};

#endif  // BACKSTRIDE_HALO
