"""`universality.plot` costs nothing until it draws."""

import subprocess
import sys

import pytest

from universality import plot


def test_names_are_there_and_unknown_ones_are_not() -> None:
    assert plot.__all__ == [
        "carried_loss",
        "ecdf",
        "effects",
        "family",
        "heatmap",
        "icicle",
        "label_transfer",
        "map",
        "pair",
    ]
    assert all(callable(getattr(plot, name)) for name in plot.__all__)
    with pytest.raises(AttributeError, match=r"module 'universality\.plot' has no attribute 'histogram'"):
        _ = plot.histogram


def test_naming_it_imports_no_matplotlib_and_drawing_no_torch() -> None:
    script = (
        "import sys, universality; universality.plot; assert 'matplotlib' not in sys.modules;"
        "universality.plot.heatmap; assert 'matplotlib' in sys.modules;"
        "bad = {'torch', 'transformers', 'universality.statistics', 'jinja2'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
