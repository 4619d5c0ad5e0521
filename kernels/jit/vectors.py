"""What Numba's own loops do not reach, as LLVM instructions on vectors of the processor's width.

Each takes arrays and the index of an element in them, and works on float32 and float64 alike.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

_FEATURES = (config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()).split(",")  # as Numba compiles
BYTES = 64 if "+avx512f" in _FEATURES else 32 if "+avx2" in _FEATURES else 16
ROWS, VECTORS = (6, 2) if BYTES == 32 else (8, 3)
"""Of a tile: with AVX2 there are 16 registers, else 32."""

I64, I32 = ir.IntType(64), ir.IntType(32)


def lanes(dtype: np.dtype) -> int:
    return BYTES // dtype.itemsize


class Emit:
    """What the intrinsics below are written with: one for each that is compiled."""

    def __init__(self, context: Any, builder: Any, array_type: Any) -> None:
        self.context, self.b = context, builder
        self.element = context.get_value_type(array_type.dtype)
        self.bits = array_type.dtype.bitwidth
        self.lanes = BYTES * 8 // self.bits
        self.vector = self.vector_of(self.lanes)

    def vector_of(self, count: int) -> ir.VectorType:
        return ir.VectorType(self.element, count)

    def pointer(self, array_type: Any, array: Any, index: Any) -> Any:
        return self.b.gep(self.context.make_array(array_type)(self.context, self.b, array).data, [index])

    def load(self, pointer: Any, count: int = 0) -> Any:
        kind = self.vector_of(count or self.lanes)
        return self.b.load(self.b.bitcast(pointer, kind.as_pointer()), align=self.bits // 8)

    def store(self, value: Any, pointer: Any) -> None:
        self.b.store(value, self.b.bitcast(pointer, value.type.as_pointer()), align=self.bits // 8)

    def splat(self, value: Any, count: int = 0) -> Any:
        kind = ir.VectorType(value.type, count or self.lanes)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _indices([0] * kind.count))

    def shuffle(self, a: Any, b: Any, order: list[int]) -> Any:
        return self.b.shuffle_vector(a, b, _indices(order))

    def undefined(self, count: int) -> Any:
        return ir.Constant(self.vector_of(count), ir.Undefined)

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.call(f"llvm.fma.{self.name(self.lanes)}", self.vector, a, b, c)

    def name(self, count: int) -> str:
        return f"v{count}f{self.bits}"

    def load_every(self, pointer: Any, step: int, count: int) -> Any:
        """Lanes that stand 1 or 2 apart; nothing past the last of them is read."""
        if step == 1 or count == 1:
            return self.load(pointer, count)
        low, high = self.load(pointer, count), self.load(self.b.gep(pointer, [I64(count - 1)]), count)
        half = range(0, count, 2)
        return self.shuffle(low, high, [*half, *(count + 1 + i for i in half)])

    def store_every(self, value: Any, pointer: Any, step: int) -> None:
        """Into lanes so far apart."""
        if step == 1:
            self.store(value, pointer)
            return
        for i in range(value.type.count):
            self.b.store(self.b.extract_element(value, I32(i)), self.b.gep(pointer, [I64(i * step)]))

    def end(self, value: Any, bias: Any, kink: Any) -> Any:
        """A vector plus the bias, and 0 where that is at most the kink (epilogue.py)."""
        value = self.b.fadd(value, self.splat(bias, value.type.count))
        below = self.b.fcmp_ordered("<=", value, self.splat(kink, value.type.count))
        return self.b.select(below, ir.Constant(value.type, None), value)

    def times(self, count: Any, step: int, body: Any) -> None:
        """body(i) for i = 0, step, ... below count."""
        before = self.b.block
        head, inside, after = (self.b.append_basic_block(name) for name in ("head", "body", "after"))
        self.b.branch(head)
        self.b.position_at_end(head)
        i = self.b.phi(I64)
        i.add_incoming(I64(0), before)
        self.b.cbranch(self.b.icmp_signed("<", i, count), inside, after)
        self.b.position_at_end(inside)
        body(i)
        i.add_incoming(self.b.add(i, I64(step)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def pieces(self, count: Any, body: Any, width: int = 0) -> None:
        """body(i, width) for spans that cover range(count): a vector wide, or less where there are not so many. The
        last may begin before the one ahead of it ends."""
        width = width or self.lanes
        with self.b.if_else(self.b.icmp_signed(">=", count, I64(width))) as (enough, fewer):
            with enough:
                last = self.b.sub(count, I64(width))
                self.times(last, width, lambda i: body(i, width))
                body(last, width)
            with fewer:
                if width > 1:
                    self.pieces(count, body, width // 2)


def _indices(order: list[int]) -> Any:
    return ir.Constant(ir.VectorType(I32, len(order)), order)


def make_tile(rows: int, vectors: int, packed: bool = True) -> Any:
    """tile(v, v0, voff, b, b0, boff, bbase, k0, T, out, out0, ld, add):
    out[out0 + k*ld + lane] = (add: itself +) sum over t < T of b[b0 + boff[t] + bbase[k]] * v[v0 + voff[t] + lane],

    for `rows` k and so many vectors of lanes: one chain of fused multiply-adds for each element, in the order of t.
    packed: of b, row t has its `rows` factors side by side, and neither boff nor bbase is read.
    voff, boff and bbase are arrays of int64 with the index of the first of them that counts.
    """

    @intrinsic
    def tile(typingctx, v, v0, voff, voff0, b, b0, boff, boff0, bbase, bbase0, T, out, out0, ld, add):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, v)
            v_, v0_, voff_, voff0_, b_, b0_, boff_, boff0_, bbase_, bbase0_, T_, out_, out0_, ld_, add_ = arguments
            source, weights = e.pointer(v, v_, v0_), e.pointer(b, b_, b0_)
            offsets, places = e.pointer(voff, voff_, voff0_), e.pointer(boff, boff_, boff0_)
            first_base = e.pointer(bbase, bbase_, bbase0_)
            target = e.pointer(out, out_, out0_)
            bases = (
                []
                if packed
                else [builder.gep(weights, [builder.load(builder.gep(first_base, [I64(k)]))]) for k in range(rows)]
            )
            zero = ir.Constant(e.vector, [0.0] * e.lanes)
            entry, body, end = builder.block, builder.append_basic_block("tile"), builder.append_basic_block("tile.end")
            builder.branch(body)
            builder.position_at_end(body)
            t = builder.phi(I64)
            t.add_incoming(I64(0), entry)
            sums = [builder.phi(e.vector) for _ in range(rows * vectors)]
            for each in sums:
                each.add_incoming(zero, entry)
            line = builder.gep(source, [builder.load(builder.gep(offsets, [t]))])
            read = [e.load(builder.gep(line, [I64(j * e.lanes)])) for j in range(vectors)]
            place = builder.mul(t, I64(rows)) if packed else builder.load(builder.gep(places, [t]))
            row = builder.gep(weights, [place])
            totals = []
            for k in range(rows):
                at = builder.gep(row, [I64(k)]) if packed else builder.gep(bases[k], [place])
                factor = e.splat(builder.load(at))
                for j in range(vectors):
                    totals.append(e.fma(factor, read[j], sums[k * vectors + j]))
            following = builder.add(t, I64(1))
            t.add_incoming(following, body)
            for each, total in zip(sums, totals, strict=True):
                each.add_incoming(total, body)
            builder.cbranch(builder.icmp_signed("<", following, T_), body, end)
            builder.position_at_end(end)
            with builder.if_else(builder.icmp_signed("!=", add_, I64(0))) as (more, first):
                for branch, plus in ((more, True), (first, False)):
                    with branch:
                        for k in range(rows):
                            for j in range(vectors):
                                at = builder.gep(target, [builder.add(builder.mul(ld_, I64(k)), I64(j * e.lanes))])
                                total = totals[k * vectors + j]
                                e.store(builder.fadd(e.load(at), total) if plus else total, at)
            return context.get_dummy_value()

        index = types.int64
        arguments = (v, index, voff, index, b, index, boff, index, bbase, index, index, out, index, index, index)
        return types.void(*arguments), generate

    return tile


def make_dots(count: int) -> Any:
    """dots(a, a0, b, b0, offsets, t0, n, out): out[i] = sum over j < n of a[a0 + j] * b[b0 + offsets[t0 + i] + j].

    For i < count. n is rounded up to whole vectors.
    """

    @intrinsic
    def dots(typingctx, a, a0, b, b0, offsets, t0, n, out):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, a)
            a_, a0_, b_, b0_, offsets_, t0_, n_, out_ = arguments
            left, right, target = e.pointer(a, a_, a0_), e.pointer(b, b_, b0_), e.pointer(out, out_, I64(0))
            places = e.pointer(offsets, offsets_, t0_)
            rows = [builder.gep(right, [builder.load(builder.gep(places, [I64(i)]))]) for i in range(count)]
            zero = ir.Constant(e.vector, [0.0] * e.lanes)
            sums = [cgutils.alloca_once(builder, e.vector) for _ in rows]
            for each in sums:
                builder.store(zero, each)

            def step(j: Any) -> None:
                value = e.load(builder.gep(left, [j]))
                for row, each in zip(rows, sums, strict=True):
                    other = e.load(builder.gep(row, [j]))
                    builder.store(e.fma(value, other, builder.load(each)), each)

            e.times(n_, e.lanes, step)
            for i, each in enumerate(sums):
                total, width = builder.load(each), e.lanes
                while width > 1:
                    width //= 2
                    total = builder.fadd(
                        total, e.shuffle(total, total, [(j + width) % e.lanes for j in range(e.lanes)])
                    )
                builder.store(builder.extract_element(total, I32(0)), builder.gep(target, [I64(i)]))
            return context.get_dummy_value()

        index = types.int64
        return types.void(a, index, b, index, offsets, index, index, out), generate

    return dots


def make_highest(vectors: int) -> Any:
    """highest(v, v0, offsets, T, values, winners, place), for so many vectors of lanes:
    values[place + lane] = the highest of v[v0 + offsets[t] + lane] over t < T, winners[place + lane] = its t.

    The first of equals wins, NaN over all, the last of them; -1 where nothing is above -inf.
    """

    @intrinsic
    def highest(typingctx, v, v0, offsets, T, values, winners, place):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, v)
            v_, v0_, offsets_, T_, values_, winners_, place_ = arguments
            source, places = e.pointer(v, v_, v0_), e.pointer(offsets, offsets_, I64(0))
            count = range(vectors)
            best = [cgutils.alloca_once_value(builder, ir.Constant(e.vector, [float("-inf")] * e.lanes)) for _ in count]
            none = ir.Constant(ir.VectorType(I32, e.lanes), [-1] * e.lanes)
            taps = [cgutils.alloca_once_value(builder, none) for _ in count]
            for each in count:  # allocated once, begun anew each time
                builder.store(ir.Constant(e.vector, [float("-inf")] * e.lanes), best[each])
                builder.store(none, taps[each])

            def tap(t: Any) -> None:
                line = builder.gep(source, [builder.load(builder.gep(places, [t]))])
                number = e.splat(builder.trunc(t, I32))
                for j in count:
                    value, before = e.load(builder.gep(line, [I64(j * e.lanes)])), builder.load(best[j])
                    higher = builder.fcmp_ordered(">", value, before)
                    wins = builder.or_(higher, builder.fcmp_unordered("uno", value, value))
                    builder.store(builder.select(wins, value, before), best[j])
                    builder.store(builder.select(wins, number, builder.load(taps[j])), taps[j])

            e.times(T_, 1, tap)
            for j in count:
                at = builder.add(place_, I64(j * e.lanes))
                e.store(builder.load(best[j]), e.pointer(values, values_, at))
                e.store(builder.load(taps[j]), e.pointer(winners, winners_, at))
            return context.get_dummy_value()

        index = types.int64
        return types.void(v, index, offsets, index, values, winners, index), generate

    return highest


def make_claims(vectors: int) -> Any:
    """claims(v, winners, v0, offsets, numbers, T, out, place), for so many vectors of lanes:
    out[place + lane] = sum over t < T of v[at] where winners[at] == numbers[t], at = v0 + offsets[t] + lane.
    """

    @intrinsic
    def claims(typingctx, v, winners, v0, offsets, numbers, T, out, place):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, v)
            v_, winners_, v0_, offsets_, numbers_, T_, out_, place_ = arguments
            source, tags = e.pointer(v, v_, v0_), e.pointer(winners, winners_, v0_)
            places, names = e.pointer(offsets, offsets_, I64(0)), e.pointer(numbers, numbers_, I64(0))
            zeros, count = ir.Constant(e.vector, [0.0] * e.lanes), range(vectors)
            sums = [cgutils.alloca_once(builder, e.vector) for _ in count]
            for each in sums:
                builder.store(zeros, each)

            def tap(t: Any) -> None:
                at = builder.load(builder.gep(places, [t]))
                number = e.splat(builder.trunc(builder.load(builder.gep(names, [t])), I32))
                for j in count:
                    lane = builder.add(at, I64(j * e.lanes))
                    kind = number.type.as_pointer()
                    found = builder.load(builder.bitcast(builder.gep(tags, [lane]), kind), align=4)
                    value = e.load(builder.gep(source, [lane]))
                    own = builder.select(builder.icmp_signed("==", found, number), value, zeros)
                    builder.store(builder.fadd(builder.load(sums[j]), own), sums[j])

            e.times(T_, 1, tap)
            for j in count:
                e.store(builder.load(sums[j]), e.pointer(out, out_, builder.add(place_, I64(j * e.lanes))))
            return context.get_dummy_value()

        index = types.int64
        return types.void(v, winners, index, offsets, numbers, index, out, index), generate

    return claims


def make_copy(in_step: int, out_step: int) -> Any:
    """copy(dst, d0, d_pitch, src, s0, s_pitch, rows, n, bias, kink), for rows j and i < n; the steps are 1 or 2:
    dst[d0 + j*d_pitch + i*out_step] = src[s0 + j*s_pitch + i*in_step] + bias, or 0 where that is at most the kink

    Nothing else is read or written. A bias of -0.0 and a kink of NaN change nothing.
    """

    @intrinsic
    def copy(typingctx, dst, d0, d_pitch, src, s0, s_pitch, rows, n, bias, kink):
        def generate(context, builder, signature, arguments):
            e = Emit(context, builder, dst)
            dst_, d0_, d_pitch_, src_, s0_, s_pitch_, rows_, n_, bias_, kink_ = arguments
            target, source = e.pointer(dst, dst_, d0_), e.pointer(src, src_, s0_)

            def row(j: Any) -> None:
                to = builder.gep(target, [builder.mul(j, d_pitch_)])
                at = builder.gep(source, [builder.mul(j, s_pitch_)])

                def piece(i: Any, width: int) -> None:
                    value = e.load_every(builder.gep(at, [builder.mul(i, I64(in_step))]), in_step, width)
                    value = e.end(value, bias_, kink_)
                    e.store_every(value, builder.gep(to, [builder.mul(i, I64(out_step))]), out_step)

                e.pieces(n_, piece)

            e.times(rows_, 1, row)
            return context.get_dummy_value()

        index = types.int64
        return types.void(dst, index, index, src, index, index, index, index, dst.dtype, dst.dtype), generate

    return copy


@intrinsic
def widen(typingctx, dst, d0, src, s0, n):
    """dst[d0 + i] = src[s0 + i] for i < n: whole numbers that are not negative, into wider ones."""

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, dst)
        dst_, d0_, src_, s0_, n_ = arguments
        target, source = e.pointer(dst, dst_, d0_), e.pointer(src, src_, s0_)
        short = context.get_value_type(src.dtype)

        def piece(i: Any, width: int) -> None:
            kind = ir.VectorType(short, width).as_pointer()
            found = builder.load(builder.bitcast(builder.gep(source, [i]), kind), align=src.dtype.bitwidth // 8)
            wide = found if src.dtype.bitwidth == e.bits else builder.zext(found, e.vector_of(width))
            e.store(wide, builder.gep(target, [i]))

        e.pieces(n_, piece)
        return context.get_dummy_value()

    index = types.int64
    return types.void(dst, index, src, index, index), generate


@intrinsic
def interleave(typingctx, dst, d0, d_pitch, src, a0, b0, s_pitch, rows, n, bias, kink):
    """dst[d0 + j*d_pitch + i] = src[(a0 for even i, b0 for odd) + j*s_pitch + i//2] + bias, or 0 where that is at most
    the kink, for rows j and i < n."""

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, dst)
        dst_, d0_, d_pitch_, src_, a0_, b0_, s_pitch_, rows_, n_, bias_, kink_ = arguments
        target, sources = e.pointer(dst, dst_, d0_), [e.pointer(src, src_, at) for at in (a0_, b0_)]
        pairs, odd = builder.lshr(n_, I64(1)), builder.trunc(n_, ir.IntType(1))

        def row(j: Any) -> None:
            to = builder.gep(target, [builder.mul(j, d_pitch_)])
            even, other = (builder.gep(source, [builder.mul(j, s_pitch_)]) for source in sources)

            def piece(i: Any, width: int) -> None:
                read = (e.load(builder.gep(source, [i]), width) for source in (even, other))
                a, b = (e.end(value, bias_, kink_) for value in read)
                both = e.shuffle(a, b, [k // 2 + k % 2 * width for k in range(2 * width)])
                e.store(both, builder.gep(to, [builder.shl(i, I64(1))]))

            e.pieces(pairs, piece)
            with builder.if_then(odd):
                value = e.end(e.load(builder.gep(even, [pairs]), 1), bias_, kink_)
                e.store(value, builder.gep(to, [builder.sub(n_, I64(1))]))

        e.times(rows_, 1, row)
        return context.get_dummy_value()

    index = types.int64
    return types.void(dst, index, index, src, index, index, index, index, index, dst.dtype, dst.dtype), generate


@intrinsic
def put_pairs(typingctx, dst, d0, src, numbers, s0, number, n):
    """dst[d0 + 2*i + j] = src[s0 + i] where numbers[s0 + i] is number + j, else 0; j is 0 or 1, i < n."""

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, dst)
        dst_, d0_, src_, numbers_, s0_, number_, n_ = arguments
        target, source, tags = e.pointer(dst, dst_, d0_), e.pointer(src, src_, s0_), e.pointer(numbers, numbers_, s0_)
        tag = context.get_value_type(numbers.dtype)
        each = [builder.trunc(builder.add(number_, I64(j)), tag) for j in range(2)]

        def piece(i: Any, width: int) -> None:
            zeros = ir.Constant(e.vector_of(width), None)
            value = builder.fadd(e.load(builder.gep(source, [i]), width), zeros)  # -0.0 is added to 0
            kind = ir.VectorType(tag, width).as_pointer()
            found = builder.load(builder.bitcast(builder.gep(tags, [i]), kind), align=numbers.dtype.bitwidth // 8)
            first, second = (
                builder.select(builder.icmp_signed("==", found, e.splat(j, width)), value, zeros) for j in each
            )
            pairs = e.shuffle(first, second, [i // 2 + i % 2 * width for i in range(2 * width)])
            e.store(pairs, builder.gep(target, [builder.mul(i, I64(2))]))

        e.pieces(n_, piece)
        return context.get_dummy_value()

    index = types.int64
    return types.void(dst, index, src, numbers, index, index, index), generate


@intrinsic
def transpose_square(typingctx, dst, d0, ld_dst, src, s0, ld_src):
    """dst[d0 + j*ld_dst + i] = src[s0 + i*ld_src + j] for i, j below the lanes of a vector: in rounds of shuffles."""

    def generate(context, builder, signature, arguments):
        e = Emit(context, builder, dst)
        dst_, d0_, ld_dst_, src_, s0_, ld_src_ = arguments
        target, source, half = e.pointer(dst, dst_, d0_), e.pointer(src, src_, s0_), e.lanes // 2
        rows = [e.load(builder.gep(source, [builder.mul(ld_src_, I64(i))])) for i in range(e.lanes)]
        mixed = [j // 2 + (j % 2) * e.lanes for j in range(2 * e.lanes)]
        low, high = mixed[: e.lanes], mixed[e.lanes :]
        for _ in range(e.lanes.bit_length() - 1):
            rows = [e.shuffle(rows[i], rows[i + half], order) for i in range(half) for order in (low, high)]
        for i, row in enumerate(rows):
            e.store(row, builder.gep(target, [builder.mul(ld_dst_, I64(i))]))
        return context.get_dummy_value()

    index = types.int64
    return types.void(dst, index, index, src, index, index), generate
