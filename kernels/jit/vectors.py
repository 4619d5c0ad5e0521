"""What Numba's own loops do not reach, as LLVM instructions on vectors of the processor's width.

Each takes arrays and the index of an element in them, and works on float32 and float64 alike.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES = llvm.get_host_cpu_features()
BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
ROWS, VECTORS = (6, 2) if BYTES == 32 else (8, 3)
"""Of a tile: with AVX2 there are 16 registers, else 32."""

I64, I32, BOOL = ir.IntType(64), ir.IntType(32), ir.IntType(1)


def lanes(dtype: np.dtype) -> int:
    return BYTES // dtype.itemsize


class _Emit:
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

    def name(self, count: int) -> str:
        return f"v{count}f{self.bits}"

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
            e = _Emit(context, builder, v)
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
                    totals.append(
                        e.call(f"llvm.fma.{e.name(e.lanes)}", e.vector, factor, read[j], sums[k * vectors + j])
                    )
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


def make_copy(in_step: int, out_step: int) -> Any:
    """copy(dst, d0, src, s0, n, bias): dst[d0 + i*out_step] = src[s0 + i*in_step] + bias for i < n; steps 1 or 2.

    By masked vectors: nothing else is read or written."""

    @intrinsic
    def copy(typingctx, dst, d0, src, s0, n, bias):
        def generate(context, builder, signature, arguments):
            e = _Emit(context, builder, dst)
            dst_, d0_, src_, s0_, n_, bias_ = arguments
            target, source = e.pointer(dst, dst_, d0_), e.pointer(src, src_, s0_)
            added = e.splat(bias_)
            wide_in, wide_out = in_step * e.lanes, out_step * e.lanes

            def mask(count: int, step: int, left: Any) -> Any:
                places = [i // step if i % step == 0 else 1 << 62 for i in range(count)]
                return builder.icmp_unsigned("<", ir.Constant(ir.VectorType(I64, count), places), e.splat(left, count))

            def body(i: Any) -> None:
                left = builder.sub(n_, i)
                align = I32(e.bits // 8)
                at = builder.gep(source, [builder.mul(i, I64(in_step))])
                at = builder.bitcast(at, e.vector_of(wide_in).as_pointer())
                zeros = ir.Constant(e.vector_of(wide_in), [0.0] * wide_in)
                name = f"llvm.masked.load.{e.name(wide_in)}.p0"
                value = e.call(name, e.vector_of(wide_in), at, align, mask(wide_in, in_step, left), zeros)
                if in_step == 2:
                    value = e.shuffle(value, e.undefined(wide_in), [2 * j for j in range(e.lanes)])
                value = builder.fadd(value, added)
                if out_step == 2:
                    value = e.shuffle(value, e.undefined(e.lanes), [j // 2 for j in range(wide_out)])
                at = builder.gep(target, [builder.mul(i, I64(out_step))])
                at = builder.bitcast(at, e.vector_of(wide_out).as_pointer())
                name = f"llvm.masked.store.{e.name(wide_out)}.p0"
                e.call(name, ir.VoidType(), value, at, align, mask(wide_out, out_step, left))

            e.times(n_, e.lanes, body)
            return context.get_dummy_value()

        return types.void(dst, types.int64, src, types.int64, types.int64, dst.dtype), generate

    return copy


@intrinsic
def transpose_square(typingctx, dst, d0, ld_dst, src, s0, ld_src):
    """dst[d0 + j*ld_dst + i] = src[s0 + i*ld_src + j] for i, j below the lanes of a vector: in rounds of shuffles."""

    def generate(context, builder, signature, arguments):
        e = _Emit(context, builder, dst)
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
