// Max pooling's taps: the type they are stored as, TAP, whose value NO_TAP marks a window wholly in padding.
#ifndef BACKSTRIDE_TAPS
#define BACKSTRIDE_TAPS

#include "primitives.cuh"

#ifndef TAP
#define TAP unsigned char
#define NO_TAP 255
#endif

using Tap = TAP;

template <class T>
struct TapStorage {
    using acc = int;
    static DEVICE int load(T x) { return (int)x; }
    static DEVICE T store(int x) { return (T)x; }
};
template <> struct Storage<unsigned char> : TapStorage<unsigned char> {};
template <> struct Storage<unsigned short> : TapStorage<unsigned short> {};
template <> struct Storage<int> : TapStorage<int> {};

#endif  // BACKSTRIDE_TAPS
