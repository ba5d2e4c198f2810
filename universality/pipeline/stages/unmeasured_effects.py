"""Record of what the stage ``effects`` could not measure, and why."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from universality.files import write_json
from universality.pipeline.paths import RunFolder


def note_unmeasured(folder: RunFolder, name: str, unmeasured: Mapping[str, str]) -> Path:
    """Record, and print on stderr, what could not be measured."""
    for what, reason in unmeasured.items():
        print(f"note: effects/{name}: no {what}: {reason}", file=sys.stderr, flush=True)
    write_json(folder.unmeasured_effects(name), dict(unmeasured))
    return folder.unmeasured_effects(name)
