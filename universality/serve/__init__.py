"""The explorer of a finished run as a live page: new text, steering, and every feature.

`open_run` reads a run without changing it, `live_app` answers requests about it, and `serve` runs that application.
Needs ``pip install 'universality[serve,train]'``.
"""

from typing import Any

from universality.extras import import_name

__all__ = ["LiveRun", "live_app", "serve"]
_HOMES = {
    "LiveRun": "universality.serve.live_run",
    "live_app": "universality.serve.application",
    "serve": "universality.serve.serving",
}


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOMES)
