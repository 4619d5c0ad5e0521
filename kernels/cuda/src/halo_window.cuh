// Output pixels by rectangular tiles, and the input pixels that a tile's windows read, its halo. Where windows overlap,
// a halo in shared memory as [pixel][channel] is fetched once for all taps, and a tap is a shift of addresses.
//
// Output rows are numbered through all images. Each image has reach rows of input, from the first that a window may
// read (perhaps padding) to the last, and these are numbered through all images too: a halo is a run of them.
// PIECES, at stride 1: every input row counts as an output row, so that those of a tile are equally far from each other
// even where it holds several images; the rows that no window begins at are no outputs.
#ifndef BACKSTRIDE_HALO_WINDOW
#define BACKSTRIDE_HALO_WINDOW

#ifndef TILE_COLUMNS  // a variant on tensor cores
#define TILE_COLUMNS 8
#define TYPE float16
#define MULTIPLY Mma16bit
#endif

#include "mma.cuh"
#include "windowed_image.cuh"

// Tiles of PIXELS output pixels, TILE_COLUMNS in a row, are numbered along the rows first.
template <int PIXELS>
struct HaloTile {
    static constexpr int ROWS = PIXELS / TILE_COLUMNS;
    int row0, column0;

    // Of pixel i of the tile.
    DEVICE int row(int i) const { return row0 + i % PIXELS / TILE_COLUMNS; }
    DEVICE int column(int i) const { return column0 + i % TILE_COLUMNS; }

    DEVICE HaloTile(int tile, FastDiv column_tiles) {
        column0 = split_off(tile, column_tiles) * TILE_COLUMNS;
        row0 = tile * ROWS;
    }
};

// Where output pixel i % PIXELS of tile i / PIXELS lies in an image's plane.
template <int PIXELS>
struct TilePixels {
    FastDiv column_tiles, period;  // of the rows of one image, P of them outputs
    int rows, P, columns;
    long long image;

    DEVICE long long operator()(int i) const {
        HaloTile<PIXELS> tile(i / PIXELS, column_tiles);
        int n = tile.row(i), q = tile.column(i);
        if (n >= rows || q >= columns) return -1;
        int p = split_off(n, period);
        return p < P ? n * image + p * columns + q : -1;
    }
};

// How the images are cut into tiles; pixels, columns: of a halo.
struct HaloTiles {
    int N;
    FastDiv taps, reach, column_tiles, pixels, columns;
};

struct HaloImage {
    const Element* x;
    long long image;  // elements from one image to the next
    int channels;
    Window window;
    HaloTiles tiles;

    // The number of the first input row, and the first input column, that an output pixel's window reads.
    DEVICE int input_row(int row) const {
        if (PIECES) return row;
        int p = split_off(row, window.P);
        return row * (int)tiles.reach.divisor + p * window.stride_h;
    }
    DEVICE int input_column(int column) const { return column * window.stride_w - window.left; }

    // By how many of the halo's pixels a tap is shifted from the first tap.
    DEVICE int shift(int tap) const {
        int s = split_off(tap, window.S);
        return tap * window.dilation_h * (int)tiles.columns.divisor + s * window.dilation_w;
    }

    // The numbers of output rows: of one image, and of all.
    DEVICE FastDiv period() const { return PIECES ? tiles.reach : window.P; }
    DEVICE int rows() const { return tiles.N * (int)period().divisor; }

    // The element of input row n, a column and a channel, if it lies inside an image.
    DEVICE Word word(int n, int column, int channel) const {
        int h = split_off(n, tiles.reach) - window.top, H = window.H, W = window.W;
        bool inside = (n < tiles.N) & ((unsigned)h < (unsigned)H) & ((unsigned)column < (unsigned)W);
        return {x + (inside ? n * image : 0), channel * (H * W) + h * W + column, inside};
    }

    // What a tap of a channel reads for the output pixel of a row and a column.
    DEVICE Word word(int row, int column, int channel, int tap) const {
        int s = split_off(tap, window.S);
        return word(input_row(row) + tap * window.dilation_h, input_column(column) + s * window.dilation_w, channel);
    }

    // GROUP channels, from `channel` on, of input row n and a column; zeros outside the image.
    DEVICE Vec<Element, GROUP> fetch(int n, int column, int channel) const {
        Word first = word(n, column, channel);
        int count = first.valid ? channels - channel : 0, plane = window.H * window.W;
        Vec<Element, GROUP> group;
#pragma unroll
        for (int i = 0; i < GROUP; ++i) group.at[i] = load_if(i < count, first.base + (first.offset + i * plane));
        return group;
    }
};

#endif  // BACKSTRIDE_HALO_WINDOW
