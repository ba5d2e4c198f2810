"""Known layouts that an SAE cannot hold are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.sae import SAE


def test_known_layouts_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("{}")
    (tmp_path / "cc_weights.pt").write_bytes(b"")
    with pytest.raises(
        FormatError, match=r"a crosscoder of Kissane et al., which reads two models at once. Its weights are for"
    ):
        SAE.load(tmp_path)
    temporal = tmp_path / "temporal"
    temporal.mkdir()
    for name in ("conf.yaml", "latest_ckpt.safetensors"):
        (temporal / name).write_bytes(b"")
    with pytest.raises(FormatError, match=r"a temporal SAE, which encodes a token from those before; SAEs that encode"):
        SAE.load(temporal)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FormatError, match=r"no SAE of a known format; expected ours .*OpenAI.* found an empty folder"):
        SAE.load(empty)
