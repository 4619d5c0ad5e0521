// The A operand of a convolution whose windows overlap: TILE_M output pixels, read tap by tap from their halo.
#ifndef BACKSTRIDE_HALO
#define BACKSTRIDE_HALO

#include "halo_window.cuh"

constexpr int PIXEL_LD = TILE_K + GROUP;

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
    struct Image {
        static constexpr int SIZE = 0;  // it has its own place
        static constexpr bool K_MAJOR = true;
    };
    const HaloImage& image;
    Element* halos;  // of the even and of the odd channel blocks
    int first_tile, last_block, first_row, first_column;
    int rows[WARP_M / 16];
    int word = -1, next = 0;  // the word on its way, if any, to the halo of block `next`
    Vec<Element, GROUP> held;

    DEVICE Halo(const HaloImage& image, Element* halos, HaloTile<TILE_M> tile, int first_block, int last_block)
        : image(image), halos(halos), first_tile(first_block * (int)image.tiles.taps.divisor), last_block(last_block),
          first_row(image.input_row(tile.row0)), first_column(image.input_column(tile.column0)) {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; ++i) {
            int m = warp_row() + 16 * i + lane_id() % 16, column = m % TILE_COLUMNS * image.window.stride_w;
            int row = image.input_row(tile.row0 + m / TILE_COLUMNS) - first_row;
            rows[i] = (row * (int)image.tiles.columns.divisor + column) * PIXEL_LD + lane_id() / 16 * GROUP;
        }
        for (int part = 0; part * THREADS < words() && first_block < last_block; ++part)
            fetch(part, first_block), put();
    }

    DEVICE int words() const { return image.tiles.pixels.divisor * GROUPS; }
    DEVICE Element* halo(int block) const { return halos + block % 2 * (int)image.tiles.pixels.divisor * PIXEL_LD; }

    DEVICE void fetch(int part, int block) {
        int group = part * THREADS + threadIdx.x;
        word = group < words() ? group : -1;
        next = block;
        if (word < 0) return;
        int row = split_off(group, image.tiles.pixels), column = split_off(row, image.tiles.columns);
        held = image.fetch(first_row + row, first_column + column, block * TILE_K + group * GROUP);
    }

    DEVICE void put() {
        if (word < 0) return;
        int group = word, pixel = split_off(group, image.tiles.pixels);
        *(Vec<Element, GROUP>*)(halo(next) + pixel * PIXEL_LD + group * GROUP) = held;
    }

    DEVICE void prepare(int) {}

    // The main loop runs STAGES - 1 tiles ahead; the other halo is free from the first tap of this block on.
    DEVICE void begin(int ahead, Element*) {
        int block = ahead - (STAGES - 1);
        bool started = block >= first_tile;
        int part = split_off(block, image.tiles.taps);
        word = -1;
        if (started && block + 1 < last_block) fetch(part, block + 1);
    }

    DEVICE void finish(int, Element*) { put(); }

    DEVICE HaloView view(int tile, const Element*) const {
        int block = quotient(tile, image.tiles.taps), tap = tile - block * (int)image.tiles.taps.divisor;
        return {halo(block) + image.shift(tap) * PIXEL_LD, rows};
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

#endif  // BACKSTRIDE_HALO
