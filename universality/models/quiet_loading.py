"""Progress bars of loading that transformers draws: shown on a terminal only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_unless_watched() -> Iterator[None]:
    """Hide transformers' progress bars of loading unless stderr is a terminal."""
    from transformers.utils import logging

    hide = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()
