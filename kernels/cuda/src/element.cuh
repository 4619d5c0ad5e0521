// The type of a kernel's arrays, and the one that it computes with.
//
// What the host defines for a variant has defaults, for whoever reads or checks a file by itself: in each file those
// that it uses, under the name of the first, since the host defines all of them or none.
#ifndef BACKSTRIDE_ELEMENT
#define BACKSTRIDE_ELEMENT

#include "primitives.cuh"

#ifndef TYPE
#define TYPE float
#endif

using Element = TYPE;
using Acc = Storage<Element>::acc;

#endif  // BACKSTRIDE_ELEMENT
