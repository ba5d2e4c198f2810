"""Files that other tools wrote (``data/``), edited copies of them, and the check against the codes they gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

from universality.sae import SAE

DATA = Path(__file__).parent / "data"


def agrees(path: str, architecture: str) -> None:
    """Codes and reconstructions equal to 1e-5, unlike those of an SAE that treats the decoder's bias otherwise."""
    written = np.load(DATA / f"{Path(path).parts[0].removesuffix('.pt')}.npz")
    sae = SAE.load(DATA / path)
    assert (sae.architecture, sae.d_in, sae.d_sae) == (architecture, 12, 32)
    found = sae.encode(written["x"]).toarray()
    assert_allclose(found, written["codes"], rtol=0, atol=1e-5)
    if "out" in written:
        assert_allclose(sae.decode(sae.encode(written["x"])), written["out"], rtol=0, atol=1e-5)
    assert np.abs(written["codes"]).max() > 1
    fields = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "architecture", "k", "nested")}
    fields |= {"threshold": sae.threshold, "normalize_activations": sae.normalize_activations}
    control = SAE(**fields, apply_b_dec_to_input=not sae.apply_b_dec_to_input)
    assert np.abs(control.encode(written["x"]).toarray() - written["codes"]).max() > 0.01


def edited(name: str, target: Path, config: str, changes: dict[str, Any]) -> Path:
    """A copy of a fixture with another configuration; a dotted key goes into a section, None takes a key away."""
    shutil.copytree(DATA / name, target)
    values = json.loads((target / config).read_text())
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = values
        for inner in sections:
            section = section.setdefault(inner, {})
        section[last] = value
        if value is None:
            del section[last]
    (target / config).write_text(json.dumps(values))
    return target
