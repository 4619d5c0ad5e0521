"""The counts that kernels are chosen by (loops.tsv) are those of the compiled kernels."""

from __future__ import annotations

import zlib

import pytest

from backstride.kernels.cuda.gemm import loops
from backstride.kernels.cuda.offline import ptxas, sass, slots

REFRESH = "the CUDA sources of products have changed: python -m backstride.kernels.cuda.offline.slots counts again"

# Two steps of a loop in which a branch leaves out a copy and an inner loop runs three times, as nvdisasm writes them.
SASS = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0020*/                   BRA.U UP1, `(.L_x_1) ;
        /*0030*/                   LDGSTS.E.BYPASS.128 [R59], desc[UR6][R56.64], P3 ;
        /*0040*/              @!PT LDS RZ, [RZ] ;
.L_x_1:
        /*0050*/                   LDSM.16.M88.4 R36, [R36] ;
.L_x_2:
        /*0060*/                   LDS.64 R8, [R2] ;
        /*0070*/                   HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0080*/               @P1 BRA `(.L_x_2) ;
        /*0090*/              @!P0 BRA `(.L_x_3) ;
        /*00a0*/                   FFMA R1, R2, R3, R4 ;
        /*00b0*/                   FFMA R1, R2, R3, R4 ;
.L_x_3:
        /*00c0*/               @P2 BRA `(.L_x_0) ;
        /*00d0*/                   EXIT ;
"""


def test_a_step_of_the_main_loop_is_the_way_that_meets_all_copies_and_products() -> None:
    """Three products: the barrier, three branches, a copy with what stands before it, ldmatrix, and the inner loop."""
    step = sass.step(SASS, multiplies=3, registers=40)
    assert step == sass.Step(slots=16, shared_clocks=4 + 1 + 4 + 6, idle_slots=14, idle_shared_clocks=10, registers=40)


def test_the_table_is_of_these_sources() -> None:
    assert loops.digest() == slots.source_digest(), REFRESH


def test_the_table_has_every_row_and_no_other() -> None:
    for sm in slots.ARCHITECTURES:
        chosen = slots.configurations(sm).values()
        named = {loops.multiply_name(c) for c in chosen if slots.multiplies_its_own_way(c)}
        assert named | {slots.fetched(c) for c in chosen} == loops.names(sm)


@pytest.mark.compiler
def test_a_sample_of_the_rows_is_what_the_compiler_makes() -> None:
    """Other rows after each change of the sources. Registers show a change too where there is no nvdisasm."""
    reason = ptxas.unavailable(90)
    if reason is not None:
        pytest.skip(reason)
    found = [c for c in slots.configurations(90).values() if not c.product.gathered and not c.product.channels]
    for c in found[zlib.crc32(loops.digest().encode()) % 8 :: 12]:
        name = loops.multiply_name(c)
        slots_before, shared_before, registers = loops.row(90, name)
        assert ptxas.compiled(slots.text(c), 90).registers == pytest.approx(registers, abs=8), REFRESH
        if sass.tool():
            step = slots.measured(c)
            assert step.idle_slots == pytest.approx(slots_before, rel=0.1), (name, REFRESH)
            assert step.idle_shared_clocks == pytest.approx(shared_before, rel=0.1), (name, REFRESH)
