// The input gradient by residue classes (class_axis.cuh), as the operands and the place of a matrix product.
#ifndef BACKSTRIDE_RESIDUES
#define BACKSTRIDE_RESIDUES

#include "class_axis.cuh"
#include "windowed_image.cuh"

// Where the class's pixels lie in dx.
struct ClassPixels {
    FastDiv rows, columns;
    int first_h, stride_h, first_w, stride_w, H, W;
    long long image;
#if AXES == 3
    FastDiv slices;
    int first_d, stride_d, D;
#endif

    DEVICE long long operator()(int i) const {
        int column = first_w + split_off(i, columns) * stride_w, row = first_h + split_off(i, rows) * stride_h;
        bool inside = row < H && column < W;
#if AXES == 3
        int slice = first_d + split_off(i, slices) * stride_d;
        inside = inside && slice < D;
        row += slice * H;
#endif
        return inside ? i * image + row * W + column : -1;
    }
};

// What the threads of a block share about its class; they read it too rarely to keep it in their registers. taps: which
// of the packed weights are its own (pack_class_weights.cu).
struct ResidueClass {
    WindowedImage image;
    int taps;
    ClassPixels pixels;
};

// The class of this index. params: what a kernel of the input gradient is told of the window and its classes.
template <class Params>
DEVICE ResidueClass residue_class(const Params& params, int index, const Element* dy) {
    const Window& g = params.window;
    FastDiv rows = params.class_rows, columns = params.class_columns;
    int index_w = split_off(index, params.classes_w), index_h = index;
#if AXES == 3
    int index_d = index;
    index_h = split_off(index_d, params.classes_h);
#endif
    ClassAxis h(index_h, g.stride_h, g.top, g.dilation_h, g.R.divisor, params.gcd_h, params.inverse_h);
    ClassAxis w(index_w, g.stride_w, g.left, g.dilation_w, g.S.divisor, params.gcd_w, params.inverse_w);
    FastDiv R = fast_div(max(h.taps, 1)), S = fast_div(max(w.taps, 1));
    int P = g.P.divisor, Q = g.Q.divisor;
    Window window{P, Q, rows, columns, R, S, 1, 1, -h.origin, -w.origin, -h.step, -w.step};
    ResidueClass residue{
        {dy, params.images.image_y, params.product.rows, params.filters * h.taps * w.taps, window},
        h.first_tap * params.first_taps_w + w.first_tap,
        {rows, columns, h.first, g.stride_h, w.first, g.stride_w, g.H, g.W, params.images.image_x},
    };
#if AXES == 3
    ClassAxis d(index_d, g.stride_d, g.front, g.dilation_d, g.T.divisor, params.gcd_d, params.inverse_d);
    FastDiv slices = params.class_slices, T = fast_div(max(d.taps, 1));
    residue.image.depth *= d.taps;
    Window& along = residue.image.window;
    along.D = g.Z.divisor, along.Z = slices, along.T = T;
    along.stride_d = 1, along.front = -d.origin, along.dilation_d = -d.step;
    residue.taps += d.first_tap * params.first_taps_h * params.first_taps_w;
    ClassPixels& pixels = residue.pixels;
    pixels.slices = slices, pixels.first_d = d.first, pixels.stride_d = g.stride_d, pixels.D = g.D;
#endif
    return residue;
}

#endif  // BACKSTRIDE_RESIDUES
