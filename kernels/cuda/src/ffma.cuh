// Multiply policy: fused multiply-adds in the accumulator type, one after the other along k.
#ifndef BACKSTRIDE_FFMA
#define BACKSTRIDE_FFMA

#include "gemm.cuh"

// The lanes of a warp form 8 rows (m) by 4 columns (n); each holds WARP_M/8 x WARP_N/4 accumulators.
template <class ImageA, class ImageB>
struct Ffma : Plain {
    static constexpr int ROWS = WARP_M / 8, COLUMNS = WARP_N / 4;
    static constexpr int VEC = sizeof(Element) == 8 ? 2 : 4;  // rows read at a time where rows are contiguous
    // Values of k at a time, as registers allow.
    static constexpr int STEP = ImageA::K_MAJOR && sizeof(Element) < 8 ? 4 : 2;

    Acc acc[ROWS][COLUMNS] = {};

    // The i-th of a lane's rows: in a k-major image neighbouring lanes take neighbouring rows, in a row-major one
    // neighbouring vectors of rows.
    template <class Image>
    static DEVICE int of_lane(int lane, int lanes, int i) {
        return Image::K_MAJOR ? i * lanes + lane : (i / VEC * lanes + lane) * VEC + i % VEC;
    }
    DEVICE int row(int i) const { return of_lane<ImageA>(lane_id() % 8, 8, i); }
    DEVICE int column(int j) const { return of_lane<ImageB>(lane_id() / 8, 4, j); }

    // STEP values of k for the lane's rows i..i+VEC-1.
    template <class Image>
    static DEVICE void load(Acc (&to)[STEP][VEC], const Element* image, int lane, int lanes, int i, int k) {
        constexpr int LOADS = Image::K_MAJOR ? VEC : STEP, WIDTH = Image::K_MAJOR ? STEP : VEC;
#pragma unroll
        for (int a = 0; a < LOADS; ++a) {
            int at = Image::K_MAJOR ? Image::at(of_lane<Image>(lane, lanes, i + a), k)
                                    : Image::at(of_lane<Image>(lane, lanes, i), k + a);
            auto v = *(const Vec<Element, WIDTH>*)(image + at);
#pragma unroll
            for (int b = 0; b < WIDTH; ++b)
                to[Image::K_MAJOR ? b : a][Image::K_MAJOR ? a : b] = Storage<Element>::load(v.at[b]);
        }
    }

    DEVICE void start() {}
    DEVICE void finish() {}

    DEVICE void multiply(const Element* image_a, const Element* image_b) {
        image_a += ImageA::at(warp_row(), 0);
        image_b += ImageB::at(warp_column(), 0);
#pragma unroll 1  // reading further ahead would not fit the registers
        for (int k = 0; k < TILE_K; k += STEP) {
            Acc a[ROWS / VEC][STEP][VEC];
#pragma unroll
            for (int i = 0; i < ROWS / VEC; ++i) load<ImageA>(a[i], image_a, lane_id() % 8, 8, i * VEC, k);
#pragma unroll
            for (int j = 0; j < COLUMNS; j += VEC) {
                Acc b[STEP][VEC];
                load<ImageB>(b, image_b, lane_id() / 8, 4, j, k);
#pragma unroll
                for (int kk = 0; kk < STEP; ++kk)
#pragma unroll
                    for (int i = 0; i < ROWS; ++i)
#pragma unroll
                        for (int jj = 0; jj < VEC; ++jj)
                            acc[i][j + jj] = fma_rn(a[i / VEC][kk][i % VEC], b[kk][jj], acc[i][j + jj]);
            }
        }
    }
};

#endif  // BACKSTRIDE_FFMA
