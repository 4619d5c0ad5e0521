"""Reductions over taps of all channels of a pixel, which lie side by side: as many at a time as registers hold.

offsets: from element v0 of v to the first channel under each of T taps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .correlate import DEPTH
from .vectors import I64, Emit

VECTORS, SUMS = 4, 8  # that are computed together
_INDEX = types.int64


def _over_channels(e: Emit, channels: Any, vectors: int, tile: Callable[[Any, int, int], None]) -> None:
    """tile(c, lanes, vectors) for channels c and on, spans that cover all of them."""
    width = vectors * e.lanes
    whole = e.b.sub(channels, e.b.srem(channels, I64(width)))
    e.times(whole, width, lambda c: tile(c, e.lanes, vectors))
    e.pieces(e.b.sub(channels, whole), lambda i, lanes: tile(e.b.add(whole, i), lanes, 1))


def _begun(e: Emit, values: list[Any]) -> list[Any]:
    """A variable for each, which has its value whenever this is passed."""
    made = [cgutils.alloca_once(e.b, value.type) for value in values]
    for value, variable in zip(values, made, strict=True):
        e.b.store(value, variable)
    return made


def _update(e: Emit, variable: Any, value: Any) -> None:
    e.b.store(e.b.fadd(e.b.load(variable), value), variable)


@intrinsic
def highest(typingctx, v, v0, offsets, numbers, T, none, channels, values, winners, place):
    """values[place + c] = the highest of v[v0 + offsets[t] + c] over t < T, winners[place + c] = numbers[t].

    The first of equals wins, NaN over all, the last of them; `none` where nothing is above -inf.
    """

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, v)
        v_, v0_, offsets_, numbers_, T_, none_, channels_, values_, winners_, place_ = arguments
        source, places = e.pointer(v, v_, v0_), e.pointer(offsets, offsets_, I64(0))
        names, number = e.pointer(numbers, numbers_, I64(0)), ir.IntType(e.bits)  # as wide as what it is chosen by
        tag = context.get_value_type(winners.dtype)

        def as_wide(value):
            return value if e.bits == 64 else builder.trunc(value, number)

        def tile(c, lanes, vectors):
            best = _begun(e, [ir.Constant(e.vector_of(lanes), [float("-inf")] * lanes)] * vectors)
            taps = _begun(e, [e.splat(as_wide(none_), lanes)] * vectors)

            def tap(t):
                line = builder.gep(source, [builder.add(c, builder.load(builder.gep(places, [t])))])
                own = e.splat(as_wide(builder.load(builder.gep(names, [t]))), lanes)
                for j in range(vectors):
                    value, before = e.load(builder.gep(line, [I64(j * lanes)]), lanes), builder.load(best[j])
                    higher = builder.fcmp_ordered(">", value, before)
                    wins = builder.or_(higher, builder.fcmp_unordered("uno", value, value))
                    builder.store(builder.select(wins, value, before), best[j])
                    builder.store(builder.select(wins, own, builder.load(taps[j])), taps[j])

            e.times(T_, 1, tap)
            for j in range(vectors):
                at, tap_ = builder.add(builder.add(place_, c), I64(j * lanes)), builder.load(taps[j])
                e.store(builder.load(best[j]), e.pointer(values, values_, at))
                kept = tap_ if tag == number else builder.trunc(tap_, ir.VectorType(tag, lanes))
                to = e.pointer(winners, winners_, at)
                builder.store(kept, builder.bitcast(to, kept.type.as_pointer()), align=tag.width // 8)

        _over_channels(e, channels_, VECTORS, tile)
        return context.get_dummy_value()

    arguments = v, _INDEX, offsets, numbers, _INDEX, _INDEX, _INDEX, values, winners, _INDEX
    return types.void(*arguments), generate


@intrinsic
def claims(typingctx, v, winners, v0, offsets, numbers, T, channels, out, place):
    """out[place + c] = sum over t < T of v[at] where winners[at] == numbers[t], at = v0 + offsets[t] + c."""

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, v)
        v_, winners_, v0_, offsets_, numbers_, T_, channels_, out_, place_ = arguments
        source, tags = e.pointer(v, v_, v0_), e.pointer(winners, winners_, v0_)
        places, names = e.pointer(offsets, offsets_, I64(0)), e.pointer(numbers, numbers_, I64(0))
        tag = context.get_value_type(winners.dtype)

        def tile(c, lanes, vectors):
            zeros = ir.Constant(e.vector_of(lanes), [0.0] * lanes)
            sums = _begun(e, [zeros] * vectors)

            def tap(t):
                at = builder.add(c, builder.load(builder.gep(places, [t])))
                number = e.splat(builder.trunc(builder.load(builder.gep(names, [t])), tag), lanes)
                for j in range(vectors):
                    lane = builder.add(at, I64(j * lanes))
                    kind = number.type.as_pointer()
                    found = builder.load(builder.bitcast(builder.gep(tags, [lane]), kind), align=tag.width // 8)
                    value = e.load(builder.gep(source, [lane]), lanes)
                    _update(e, sums[j], builder.select(builder.icmp_signed("==", found, number), value, zeros))

            e.times(T_, 1, tap)
            for j in range(vectors):
                to = builder.add(builder.add(place_, c), I64(j * lanes))
                e.store(builder.load(sums[j]), e.pointer(out, out_, to))

        _over_channels(e, channels_, VECTORS, tile)
        return context.get_dummy_value()

    return types.void(v, winners, _INDEX, offsets, numbers, _INDEX, _INDEX, out, _INDEX), generate


def make_totals(divided: bool) -> Any:
    """totals(v, v0, offsets, T, divisor, channels, out, place):
    out[place + c] = sum over t < T of v[v0 + offsets[t] + c], in chains of DEPTH, divided or not."""

    @intrinsic
    def totals(typingctx, v, v0, offsets, T, divisor, channels, out, place):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, v)
            v_, v0_, offsets_, T_, divisor_, channels_, out_, place_ = arguments
            source, places = e.pointer(v, v_, v0_), e.pointer(offsets, offsets_, I64(0))

            def tile(c, lanes, vectors):
                zeros = [ir.Constant(e.vector_of(lanes), [0.0] * lanes)] * vectors
                sums = _begun(e, zeros)

                def chain(first):
                    parts, left = _begun(e, zeros), builder.sub(T_, first)

                    def tap(t):
                        at = builder.load(builder.gep(places, [builder.add(first, t)]))
                        line = builder.gep(source, [builder.add(c, at)])
                        for j in range(vectors):
                            _update(e, parts[j], e.load(builder.gep(line, [I64(j * lanes)]), lanes))

                    e.times(builder.select(builder.icmp_signed("<", left, I64(DEPTH)), left, I64(DEPTH)), 1, tap)
                    for total, part in zip(sums, parts, strict=True):
                        _update(e, total, builder.load(part))

                e.times(T_, DEPTH, chain)
                for j in range(vectors):
                    total, to = builder.load(sums[j]), builder.add(builder.add(place_, c), I64(j * lanes))
                    result = builder.fdiv(total, e.splat(divisor_, lanes)) if divided else total
                    e.store(result, e.pointer(out, out_, to))

            _over_channels(e, channels_, SUMS, tile)
            return context.get_dummy_value()

        return types.void(v, _INDEX, offsets, _INDEX, v.dtype, _INDEX, out, _INDEX), generate

    return totals
