// The A operand of a weight gradient whose windows overlap, of 16-bit elements: k-tile t is the t-th tile of TILE_K
// output pixels, and all taps of CHANNELS channels, the rows, are read from its halo.
#ifndef BACKSTRIDE_WEIGHT_HALO
#define BACKSTRIDE_WEIGHT_HALO

#include "halo_window.cuh"

#ifndef CHANNELS
#define CHANNELS 16
#define HALO_PARTS 1
#endif

constexpr int PIXEL_LD = CHANNELS + 8;  // the rows that ldmatrix reads together are in different banks

// Row m of a block is a tap of a channel: 16 channels by all taps, then the next 16 channels.
struct TapRow {
    int block, tap;  // of 16 channels

    DEVICE TapRow(int m, FastDiv taps) : block(m / 16), tap(split_off(block, taps)) {}
};

// What multiply reads: the pixels whose addresses this lane gives to ldmatrix, for the first tap; a null one is no
// output and counts as zeros, whatever x is there. shifts: of each 16 rows.
struct WeightHaloView {
    const Element* pixels[GROUPS / 2];
    const int* shifts;
    const Element* zeros;
};

template <class Image>
DEVICE void load_a(unsigned (&f)[4], const WeightHaloView& view, int i, int pair) {
    ldmatrix_x4_trans(f, view.pixels[pair] ? view.pixels[pair] + view.shifts[i] : view.zeros);
}

// Of the words of a halo, GROUP channels of one pixel each, one that a thread fetches; slot: its place, negative if
// none.
struct HaloWord {
    int row, column, channel, slot;
};

struct WeightHalo {
    struct Image {
        static constexpr int SIZE = 0;  // it has its own place
        static constexpr bool K_MAJOR = false;
    };
    const HaloImage& image;
    Element* halos;  // STAGES of them
    const Element* zeros;
    int channel0;
    int shifts[WARP_M / 16];
    HaloWord words[HALO_PARTS];
    Vec<Element, GROUP> held[HALO_PARTS];

    // zeros: shared memory, read after a barrier.
    DEVICE WeightHalo(const HaloImage& image, Element* halos, Vec<Element, GROUP>* zeros, int channel0)
        : image(image), halos(halos), zeros(zeros->at), channel0(channel0) {
        if (threadIdx.x == 0) *zeros = {};
#pragma unroll
        for (int i = 0; i < WARP_M / 16; ++i) {
            TapRow row(warp_row() + 16 * i, image.tiles.taps);  // past the last one: any row will do
            shifts[i] = row.block < CHANNELS / 16 ? image.shift(row.tap) * PIXEL_LD + row.block * 16 : 0;
        }
#pragma unroll
        for (int part = 0; part < HALO_PARTS; ++part) {
            int group = part * THREADS + threadIdx.x, pixel = split_off(group, image.tiles.pixels), row = pixel;
            int column = split_off(row, image.tiles.columns);
            words[part] = {row, column, group * GROUP,
                           group < CHANNELS / GROUP ? pixel * PIXEL_LD + group * GROUP : -1};
        }
    }

    DEVICE Element* halo(int tile) const { return halos + tile % STAGES * (int)image.tiles.pixels.divisor * PIXEL_LD; }
    DEVICE void prepare(int) {}

    DEVICE void begin(int k_tile, Element*) {
        HaloTile<TILE_K> tile(k_tile, image.tiles.column_tiles);
        int row = image.input_row(tile.row0), column = image.input_column(tile.column0);
#pragma unroll
        for (int part = 0; part < HALO_PARTS; ++part) {
            const HaloWord& word = words[part];
            if (word.slot >= 0) held[part] = image.fetch(row + word.row, column + word.column, channel0 + word.channel);
        }
    }

    DEVICE void finish(int k_tile, Element*) {
#pragma unroll
        for (int part = 0; part < HALO_PARTS; ++part)
            if (words[part].slot >= 0) *(Vec<Element, GROUP>*)(halo(k_tile) + words[part].slot) = held[part];
    }

    DEVICE WeightHaloView view(int k_tile, const Element*) const {
        int k = lane_id() / 16 * 8 + lane_id() % 8, channel = lane_id() / 8 % 2 * 8;
        HaloTile<TILE_K> tile(k_tile, image.tiles.column_tiles);
        int first = image.input_row(tile.row0);
        WeightHaloView view{{}, shifts, zeros};
#pragma unroll
        for (int pair = 0; pair < GROUPS / 2; ++pair, k += 2 * GROUP) {
            int row = image.input_row(tile.row0 + k / TILE_COLUMNS) - first, column = k % TILE_COLUMNS;
            int pixel = row * (int)image.tiles.columns.divisor + column * image.window.stride_w;
            bool output = tile.column0 + column < (int)image.window.Q.divisor;
            view.pixels[pair] = output ? halo(k_tile) + pixel * PIXEL_LD + channel : nullptr;
        }
        return view;
    }
};

// Where row m lies in dw, whose filters are [channel][tap].
struct TapPlaces {
    FastDiv taps;
    int channel0, channels;

    DEVICE long long operator()(int m) const {
        TapRow row(m, taps);
        int channel = channel0 + row.block * 16 + m % 16;
        return row.block < CHANNELS / 16 && channel < channels ? channel * (int)taps.divisor + row.tap : -1;
    }
};

#endif  // BACKSTRIDE_WEIGHT_HALO
