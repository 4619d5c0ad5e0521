// Loading and storing parts of a row of a plane, as vectors where the host says that they are aligned.
#ifndef BACKSTRIDE_ROWS
#define BACKSTRIDE_ROWS

#include "element.cuh"

// row[i] = element (h, w + i) of a height x width plane, or `outside` where there is none. V divides width and
// w - SKEW, so that a vector of V elements lies wholly inside a row or wholly outside.
template <int V, int SKEW, class T, class Value, int N>
DEVICE void load_row(Value (&row)[N], const T* plane, int h, int w, int height, int width, Value outside) {
    const T fill = Storage<T>::store(outside);
    bool row_inside = (unsigned)h < (unsigned)height;
#pragma unroll
    for (int i = -SKEW; i < N; i += V) {
        Vec<T, V> v;
#pragma unroll
        for (int j = 0; j < V; j++) v.at[j] = fill;
        if (row_inside && (unsigned)(w + i) < (unsigned)width) v = *(const Vec<T, V>*)(plane + h * width + w + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            if (i + j >= 0 && i + j < N) row[i + j] = Storage<T>::load(v.at[j]);
    }
}

// The reverse: elements outside the plane are dropped. V divides width and w.
template <int V, class T, class Value, int N>
DEVICE void store_row(const Value (&row)[N], T* plane, int h, int w, int height, int width) {
#pragma unroll
    for (int i = 0; i < N; i += V) {
        Vec<T, V> v;
#pragma unroll
        for (int j = 0; j < V; j++) v.at[j] = Storage<T>::store(row[i + j]);
        if (h < height && w + i < width) *(Vec<T, V>*)(plane + h * width + w + i) = v;
    }
}

#endif  // BACKSTRIDE_ROWS
