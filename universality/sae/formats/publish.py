"""Model card, and metadata under the names of SAELens, for SAEs that are shared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from universality.sae.formats.ours import LAYOUT

_CARD = """---
library_name: saelens
tags: [sparse-autoencoder, interpretability]
---
# Sparse autoencoder {name}

| | |
|---|---|
{rows}

`cfg.json` and `sae_weights.safetensors` are as SAELens 6 writes them:

```python
from sae_lens import SAE
sae = SAE.load_from_disk("{name}")

from universality import SAE
sae = SAE.load("{name}")
```

Activations are encoded in their own units{normalised}. Provenance:

{metadata}
"""


def saelens_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Add the keys that SAELens uses for the same information; existing keys are kept."""
    model = metadata.get("model")
    named = {
        "sae_lens_version": LAYOUT,
        "hook_name": metadata.get("hook"),
        "model_name": model.get("name") if isinstance(model, Mapping) else None,
    }
    return {**{key: value for key, value in named.items() if value is not None}, **metadata}


def model_card(name: str, settings: Mapping[str, Any], shape: tuple[int, int], metadata: Mapping[str, Any]) -> str:
    """Write the text of ``README.md``.

    Parameters
    ----------
    settings
        Settings of the SAE, as it saves them.
    shape
        d_in and d_sae.
    """
    rows = {"width of the activations (d_in)": f"{shape[0]:,}", "features (d_sae)": f"{shape[1]:,}"}
    rows |= {key.replace("_", " "): str(value) for key, value in settings.items() if value not in (None, [], "none")}
    way = settings["normalize_activations"]
    # indented by four spaces, so that no text in the metadata can end the block
    text = json.dumps(dict(metadata), indent=2, sort_keys=True).replace("\n", "\n    ")
    return _CARD.format(
        name=name,
        rows="\n".join(f"| {key} | {value} |" for key, value in rows.items()),
        normalised="" if way == "none" else f", after {way} of each token",
        metadata=f"    {text}",
    )
