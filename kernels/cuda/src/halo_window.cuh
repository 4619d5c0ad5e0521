// Output pixels by rectangular tiles, and the input pixels that a tile's windows read, its halo. Where windows overlap,
// a halo in shared memory as [pixel][channel] is fetched once for all taps, and a tap is a shift of addresses.
//
// Output rows are numbered through all images. Each image has reach rows of input, from the first that a window may
// read (perhaps padding) to the last, and these are numbered through all images too: a halo is a run of them.
#ifndef BACKSTRIDE_HALO_WINDOW
#define BACKSTRIDE_HALO_WINDOW

#include "mma.cuh"
#include "sources.cuh"

// Tiles of PIXELS output pixels, TILE_COLUMNS in a row, are numbered along the rows first.
template <int PIXELS>
struct HaloTile {
    static constexpr int ROWS = PIXELS / TILE_COLUMNS;
    int row0, column0;

    DEVICE HaloTile(int tile, FastDiv column_tiles) {
        column0 = split_off(tile, column_tiles) * TILE_COLUMNS;
        row0 = tile * ROWS;
    }
};

// Where output pixel i % PIXELS of tile i / PIXELS lies in an image's plane.
template <int PIXELS>
struct TilePixels {
    FastDiv column_tiles, P;
    int rows, columns;
    long long image;

    DEVICE long long operator()(int i) const {
        HaloTile<PIXELS> tile(i / PIXELS, column_tiles);
        int n = tile.row0 + i % PIXELS / TILE_COLUMNS, q = tile.column0 + i % TILE_COLUMNS;
        if (n >= rows || q >= columns) return -1;
        int p = split_off(n, P);
        return n * image + p * columns + q;
    }
};

struct HaloWindow {
    const Element* x;
    long long image;  // elements from one image to the next
    int N, H, W, Q, channels, stride_h, stride_w, top, left, dilation_h, dilation_w;
    FastDiv P, reach, S, taps, pixels, columns;  // pixels, columns: of a halo

    // The number of the first input row, and the first input column, that an output pixel's window reads.
    DEVICE int input_row(int row) const {
        int p = split_off(row, P);
        return row * (int)reach.divisor + p * stride_h;
    }
    DEVICE int input_column(int column) const { return column * stride_w - left; }

    // By how many of the halo's pixels a tap is shifted from the first tap.
    DEVICE int shift(int tap) const {
        int s = split_off(tap, S);
        return tap * dilation_h * (int)columns.divisor + s * dilation_w;
    }

    // GROUP channels, from `channel` on, of input row n and a column; zeros outside the image.
    DEVICE Vec<Element, GROUP> fetch(int n, int column, int channel) const {
        int h = split_off(n, reach) - top, plane = H * W;
        bool inside = n < N && (unsigned)h < (unsigned)H && (unsigned)column < (unsigned)W;
        const Element* from = x + (inside ? n * image + channel * plane + h * W + column : 0);
        int count = inside ? channels - channel : 0;
        Vec<Element, GROUP> word;
#pragma unroll
        for (int i = 0; i < GROUP; ++i) word.at[i] = i < count ? from[i * plane] : Element{};
        return word;
    }
};

#endif  // BACKSTRIDE_HALO_WINDOW
