// Where the positions of a resized axis lie, in whole numbers: max(0, step p + offset) / unit.
#ifndef BACKSTRIDE_RESAMPLING
#define BACKSTRIDE_RESAMPLING

#include "element.cuh"
#include "fast_div.cuh"

#ifndef LINEAR
#define LINEAR 1
#endif

struct Resampling {
    int step, offset;
    FastDiv unit, extent, size, of_step;
};

// The position before, and the share that the one after it has.
struct Source {
    int before, after;
    Acc share, rest;
};

DEVICE Source source_of(int p, const Resampling& axis) {
    int numerator = max(0, axis.step * p + axis.offset), before = numerator, part = split_off(before, axis.unit);
    Acc unit = (Acc)axis.unit.divisor;
    if (!LINEAR) part = 0;
    int after = min(before + 1, (int)axis.extent.divisor - 1);
    return {before, after, div_rn((Acc)part, unit), div_rn(unit - (Acc)part, unit)};
}

// What position i has of the result's position p.
DEVICE Acc part_of(int i, int p, const Resampling& axis) {
    Source source = source_of(p, axis);
    Acc part = i == source.before ? source.rest : Acc(0);
    return i == source.after && source.share > 0 ? add_rn(part, source.share) : part;
}

// The first position of the result that lies at `place` or behind it.
DEVICE int first_at(int place, const Resampling& axis) {
    int numerator = place * (int)axis.unit.divisor - axis.offset, size = axis.size.divisor;
    if (place <= 0 || numerator <= 0) return 0;
    return axis.step == 0 ? size : min(size, quotient(numerator + axis.step - 1, axis.of_step));
}

#endif  // BACKSTRIDE_RESAMPLING
