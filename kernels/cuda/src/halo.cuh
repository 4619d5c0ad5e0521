// The A operand of a convolution whose windows overlap: TILE_M output pixels, read tap by tap from their halo.
#ifndef BACKSTRIDE_HALO
#define BACKSTRIDE_HALO

#include "halo_window.cuh"
#include "wgmma.cuh"

#if !PIECES
// A halo is [pixel][channel]. What multiply reads: where this lane's rows are for the current tap.
constexpr int PIXEL_LD = TILE_K + GROUP;

struct HaloView {
    const Element* tap;
    const int* rows;
};

template <class Image>
DEVICE void load_a(unsigned (&f)[4], const HaloView& view, int i, int pair) {
    ldmatrix_x4(f, view.tap + view.rows[i] + 2 * pair * GROUP);
}
#else
// A halo is [group of channels][pixel][channel]: the eight pixels of a tile's row are one of wgmma's pieces, wherever
// the current tap shifts them to.
constexpr int PIXEL_LD = TILE_K;
static_assert(TILE_COLUMNS == 8 && GROUP == 8, "a piece is eight pixels by eight channels");

struct HaloView {
    const Element* tap;
    int pixels, columns;
};

template <class Image>
DEVICE Pieces rows_of_a(const HaloView& view, int i, int k) {
    int row = warpgroup_row() / 8 + i;
    return pieces(view.tap + (k / 8 * view.pixels + row * view.columns) * 8, view.pixels * 16,
                  INSTRUCTIONS * view.columns * 16);
}
#endif

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
    int rows[WARP_M / 16];    // unless PIECES
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

    DEVICE int words() const { return pixels() * GROUPS; }
    DEVICE int pixels() const { return image.tiles.pixels.divisor; }
    DEVICE Element* halo(int block) const { return halos + block % 2 * pixels() * PIXEL_LD; }

    DEVICE int at(int pixel, int group) const {
        return PIECES ? (group * pixels() + pixel) * GROUP : pixel * PIXEL_LD + group * GROUP;
    }

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
        *(Vec<Element, GROUP>*)(halo(next) + at(pixel, group)) = held;
    }

    DEVICE void prepare(int) {}

    // The main loop runs AHEAD tiles ahead; the other halo is free from the first tap of this block on or, where its last
    // tap may still be multiplied then, from the second.
    DEVICE void begin(int ahead, Element*) {
        int block = ahead - AHEAD;
        bool started = block >= first_tile;
        int part = split_off(block, image.tiles.taps) - PIECES;
        word = -1;
        if (started && part >= 0 && block + 1 < last_block) fetch(part, block + 1);
    }

    DEVICE void finish(int, Element*) { put(); }

    DEVICE HaloView view(int tile, const Element*) const {
        int block = quotient(tile, image.tiles.taps), tap = tile - block * (int)image.tiles.taps.divisor;
        const Element* from = halo(block) + at(image.shift(tap), 0);
#if PIECES
        return {from, pixels(), (int)image.tiles.columns.divisor};
#else
        return {from, rows};
#endif
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
