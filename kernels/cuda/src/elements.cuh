// Loading and storing runs of elements of an array of any length, as vectors of V but for those that its end cuts.
#ifndef BACKSTRIDE_ELEMENTS
#define BACKSTRIDE_ELEMENTS

#include "element.cuh"

// Elements first ... first + V - 1 of `size`; those past the end are 0. V divides first.
template <int V, class T>
DEVICE Vec<T, V> load_elements(const T* p, long long first, long long size) {
    if (first + V <= size) return *(const Vec<T, V>*)(p + first);
    Vec<T, V> v = {};
#pragma unroll
    for (int j = 0; j < V; j++)
        if (first + j < size) v.at[j] = p[first + j];
    return v;
}

// The reverse: elements past the end are dropped.
template <int V, class T>
DEVICE void store_elements(Vec<T, V> v, T* p, long long first, long long size) {
    if (first + V <= size) {
        *(Vec<T, V>*)(p + first) = v;
        return;
    }
#pragma unroll
    for (int j = 0; j < V; j++)
        if (first + j < size) p[first + j] = v.at[j];
}

#endif  // BACKSTRIDE_ELEMENTS
