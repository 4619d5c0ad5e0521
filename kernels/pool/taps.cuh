// The stored types of max pooling's taps, as numbers.
#ifndef BACKSTRIDE_TAPS
#define BACKSTRIDE_TAPS

#include "primitives.cuh"

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
