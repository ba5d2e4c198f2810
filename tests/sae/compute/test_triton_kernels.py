"""Triton's kernels in its interpreter, on a CPU: all comparisons of `kernel_cases.py`; and compiled, but not run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CASES = Path(__file__).with_name("kernel_cases.py")
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton, which PyTorch brings with CUDA")
# "only 0-dimensional arrays can be converted to Python scalars": NumPy 2.4 ended what older interpreters rely on
OLD_INTERPRETER = find_spec("triton") is not None and (
    tuple(map(int, version("triton").split(".")[:2])) < (3, 9)
    and tuple(map(int, version("numpy").split(".")[:2])) >= (2, 4)
)


def names() -> list[str]:
    """Names of the cases, which this process must not import: it would take the kernels as they are without a card."""
    tree = ast.parse(CASES.read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "case" for d in node.decorator_list)
    ]


def interpreted(*arguments: str) -> dict[str, str]:
    """What went wrong in each case, in a process whose kernels are interpreted."""
    env = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    env.pop("UNIVERSALITY_TRITON", None)
    done = subprocess.run(
        [sys.executable, CASES, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    problems: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return problems


@pytest.fixture(scope="module")
def problems() -> dict[str, str]:
    if OLD_INTERPRETER:
        pytest.skip("the interpreter of Triton before 3.9 fails with NumPy 2.4 and newer")
    return interpreted()


@pytest.mark.parametrize("name", names())
def test_a_kernel_equals_the_stock_path_and_a_slow_one(name: str, problems: dict[str, str]) -> None:
    assert problems[name] == ""


def test_steps_with_kernels_equal_those_without(problems: dict[str, str]) -> None:
    labels = [name for name in problems if " of " in name]
    for architecture in ("topk", "batchtopk", "matryoshka", "relu", "jumprelu"):
        assert f"gradients of {architecture}" in labels
        assert f"steps of {architecture}" in labels
    assert {name: problems[name] for name in labels if problems[name]} == {}


COMPILE = """
import re, subprocess, sys, tempfile, triton
from pathlib import Path
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from universality.sae.compute import triton_encoders, triton_kernels

kinds = {"f": "*fp32", "b": "*bf16", "l": "*i64", "j": "*i32", "i": "i32", "x": "fp32", "1": "constexpr"}
name, signature, constants, warps, capability = sys.argv[1], sys.argv[2], eval(sys.argv[3]), *map(int, sys.argv[4:6])
kernel = getattr(triton_kernels, name, None) or getattr(triton_encoders, name)
types = dict(zip(kernel.arg_names, [*map(kinds.get, signature), *["constexpr"] * len(constants)], strict=True))
places = {(kernel.arg_names.index(key),): value for key, value in constants.items()}
places |= {(i,): 1 for i, kind in enumerate(signature) if kind == "1"}  # a launch makes constants of arguments of 1
# a launch tells the compiler of addresses and sizes that are multiples of 16, without which loads are not pipelined
even = [i for i, kind in enumerate(signature) if kind in "fblj" or kernel.arg_names[i] in ("d_in", "d_sae", "panel")]
source = ASTSource(kernel, types, constexprs=places, attrs={(i,): [["tt.divisibility", 16]] for i in even})
made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps, "num_stages": 3})
with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
    Path(file.name).write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.check_output([tool, "--dump-resource-usage", file.name], text=True)
print(made.metadata.shared, re.search(r"STACK:(\\d+)", usage)[1])
"""
ENCODER: dict[str, Any] = {"TOKENS": 64, "FEATURES": 128, "INNER": 32, "PRECISION": "tf32x3", "WIDEN": False}
ADAM: dict[str, Any] = {"HAS_DENSE": True, "HAS_ENTRIES": True, "UNIT": True, "DECAYS": True}


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    ("name", "signature", "constants", "warps"),
    [
        ("_sum_rows", "flllffi", {"ORDERED": True, "COLUMNS": 256, "ENTRIES": 32}, 4),
        ("_adam_rows", "fffflllfffixxxxxx", {**ADAM, "COLUMNS": 1024, "ENTRIES": 8}, 4),
        ("_adam_rows", "fffflllfffixxxxxx", {**ADAM, "COLUMNS": 8192, "ENTRIES": 1}, 16),
        ("_entry_products", "flflfii", {"COLUMNS": 128, "ENTRIES": 16}, 4),
        ("_sum_values", "fllfi", {"ROWS": 16, "ENTRIES": 32}, 4),
        ("_panel_candidates", "lfffiiiiii", {"K": 32, **ENCODER}, 8),
        ("_panel_candidates", "lfffiiiiii", {"K": 128, **ENCODER}, 8),
        ("_panel_candidates", "lbbfiiiiii", {"K": 128, **ENCODER}, 8),
        ("_panel_entries", "jjfffffiiiii", ENCODER, 8),
        ("_panel_entries", "jjfbbffiiiii", ENCODER, 8),
        ("_merge_candidates", "fllii", {"K": 128, "CANDIDATES": 2048}, 4),
        ("_panel_candidates", "lfff1ii1i1", {"K": 2, **ENCODER}, 8),
        ("_panel_entries", "jjfffff1iii1", ENCODER, 8),
        ("_merge_candidates", "fll11", {"K": 2, "CANDIDATES": 1}, 4),
        ("_entry_products", "flflf1i", {"COLUMNS": 128, "ENTRIES": 16}, 4),
    ],
)
def test_kernels_compile_for_cards(
    name: str, signature: str, constants: dict[str, Any], warps: int, capability: int, tmp_path: Path
) -> None:
    """Triton compiles to machine code without a card.

    Shared memory must fit that of a consumer card, 99 kB. A thread has 255 registers; what does not fit is spilled to
    memory, of which an Ampere may need a little.
    """
    env = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    env.pop("TRITON_INTERPRET", None)
    arguments = [name, signature, repr(constants), str(warps), str(capability)]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, *arguments], env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shared, spilled = map(int, done.stdout.split())
    assert shared <= 99 * 1024
    assert spilled <= (256 if capability == 80 else 32), spilled
