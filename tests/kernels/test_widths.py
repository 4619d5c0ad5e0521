"""Vectors of other widths than this processor's: AVX2's, and the 16 bytes of NEON, compiled for each and tried here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backstride import jit

CODE = """
import sys
import numpy as np
from backstride import jit, kernels
from backstride.kernels.jit import correlate, vectors

assert vectors.BYTES == int(sys.argv[1]), vectors.BYTES
rng = np.random.default_rng(0)
x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 5, 11, 19), (14, 5, 3, 3), (14,)))
dy = rng.standard_normal((3, 14, 6, 10)).astype(np.float32)

def results():
    options = {"stride": 2, "padding": 1}
    return [
        kernels.conv2d(x, w, b, **options),
        kernels.conv2d_input_grad(dy, w, x.shape, **options),
        kernels.conv2d_weight_grad(dy, x, w.shape, **options),
        *kernels.max_pool2d(x, 3, **options),
    ]

with jit.use_jit(False):
    expected = results()
for got, right in zip(results(), expected, strict=True):
    np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-5)  # sums of up to 180 products of normal numbers
"""

ON_ARM = """
import llvmlite.binding as llvm
import numba

@numba.njit("void(f4[::1], i8[::1], f4[::1], f4[::1], i8)", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def tile(run, offsets, weights, results, ld):
    correlate._tile2(run, 0, offsets, 0, weights, 0, offsets, 0, offsets, 0, offsets.size, results, 0, ld, 0)

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(features="+neon")
(text,) = tile.inspect_llvm().values()
lines = [line for line in text.splitlines() if not line.startswith(("target triple", "target datalayout"))]
assembly = machine.emit_assembly(llvm.parse_assembly("\\n".join(lines)))
assert assembly.count("fmla") >= 16, assembly  # of 8 rows and 2 vectors
"""


@pytest.mark.skipif(jit.missing() is not None, reason="Numba is not installed")
@pytest.mark.parametrize(
    ("width", "features", "code"),
    [(32, "+avx2,+fma,+f16c,+bmi,+bmi2", CODE), (16, "+avx,+fma", CODE + ON_ARM)],
    ids=["AVX2", "16 bytes"],
)
def test_narrower_vectors_give_the_same(tmp_path, width, features, code):
    here = set(_features_here().split(","))
    if not here.issuperset(features.split(",")):
        pytest.skip(f"this processor has not all of {features}")
    variables = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment = {**os.environ, **variables, jit.VARIABLE: "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(width)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def _features_here() -> str:
    import llvmlite.binding

    return str(llvmlite.binding.get_host_cpu_features().flatten())
