// What the kernels for few channels share: a piece of a plane in shared memory, and how wide its loads are.
#ifndef BACKSTRIDE_FEW_CHANNELS
#define BACKSTRIDE_FEW_CHANNELS

#include "rows.cuh"

#ifndef THREADS
#define THREADS 128
#endif

constexpr int QUAD = 16 / sizeof(Acc);  // numbers in the widest shared-memory load

DEVICE constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// n modulo a power of two, also for negative n.
DEVICE constexpr int modulo(int n, int power) { return n & (power - 1); }

// piece[i][j] = element (h + i, w + j) of a height x width plane, zero where there is none, by words of VEC elements:
// VEC divides width and w. A thread keeps its columns.
template <int VEC, int PIECE_ROWS, int PIECE_COLUMNS>
DEVICE void load_piece(Acc* piece, const Element* plane, int h, int w, int height, int width) {
    constexpr int WORDS = PIECE_COLUMNS / VEC, ACROSS = WORDS < THREADS ? WORDS : THREADS, STEP = THREADS / ACROSS;
    static_assert(WORDS * VEC == PIECE_COLUMNS, "whole words");
    int first_row = threadIdx.x / ACROSS;
    if (first_row >= STEP) return;
#pragma unroll 1
    for (int column = threadIdx.x % ACROSS * VEC; column < PIECE_COLUMNS; column += ACROSS * VEC) {
        bool inside = (unsigned)(w + column) < (unsigned)width;
        int from = (h + first_row) * width + w + column;
#pragma unroll 4
        for (int row = first_row; row < PIECE_ROWS; row += STEP, from += STEP * width) {
            Vec<Element, VEC> word{};
            if (inside && (unsigned)(h + row) < (unsigned)height) word = *(const Vec<Element, VEC>*)(plane + from);
            Vec<Acc, VEC> numbers;
#pragma unroll
            for (int i = 0; i < VEC; i++) numbers.at[i] = Storage<Element>::load(word.at[i]);
            *(Vec<Acc, VEC>*)(piece + row * PIECE_COLUMNS + column) = numbers;
        }
    }
}

// Numbers `from` on, at least N, by the widest loads; `from` is so aligned.
template <int N>
DEVICE void load_numbers(Acc (&to)[N], const Acc* from) {
    static_assert(N % QUAD == 0, "whole loads");
#pragma unroll
    for (int i = 0; i < N; i += QUAD) *(Vec<Acc, QUAD>*)(to + i) = *(const Vec<Acc, QUAD>*)(from + i);
}

#endif  // BACKSTRIDE_FEW_CHANNELS
