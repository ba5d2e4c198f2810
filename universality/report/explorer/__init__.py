"""Scripts of the explorer, and the data files that they read.

A page opened from disk may not fetch, so data files are scripts: ``data/NAME.js`` calls ``universality.add("NAME", …)``
and is added to the page when a view first needs it. Long columns are little-endian arrays in base64, the rest is JSON.

The names say what a file is about: ``sides/DICTIONARY/…`` one dictionary, whatever it is compared with;
``comparisons/NAME/…`` one comparison; all others the whole study.
"""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from universality.files import write_bytes
from universality.visible_tokens import pieces, shorten, visible

PARTS = (
    "data", "elements", "numbers", "routing", "comparison", "zoom", "table", "filters", "labels", "feature", "pairs",
    "pair_effects", "pair", "families", "family_picture", "heatmap", "points", "map_points", "map", "compare", "start",
)  # fmt: skip
"""Scripts in ``report/explorer/``, in the order in which they are joined."""
LONGEST = 160
"""Characters of a token that are shown at most: some tokenizers have tokens with pages of spaces."""
_TYPES = {"f4": "<f4", "i4": "<i4", "i2": "<i2", "i1": "i1", "u1": "u1"}


def explorer_script() -> str:
    """Join the scripts into one, with a scope of its own."""
    folder = Path(__file__).parent
    parts = [(folder / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
    return "(() => {\n" + "\n".join(parts) + "})();\n"


def packed(values: ArrayLike, dtype: str) -> dict[str, str]:
    """Encode a column for the script, row-major; ``dtype`` is one of ``f4 i4 i2 i1 u1``.

    Examples
    --------
    >>> packed([1, 2], "i2")
    {'type': 'i2', 'base64': 'AQACAA=='}
    """
    content = np.ascontiguousarray(values, dtype=_TYPES[dtype]).tobytes()
    return {"type": dtype, "base64": base64.b64encode(content).decode("ascii")}


def packed_whole(values: ArrayLike) -> dict[str, str]:
    """Encode whole numbers in the smallest type that holds them all.

    Examples
    --------
    >>> packed_whole([1, 40_000])["type"]
    'i4'
    """
    whole = np.asarray(values)
    low, high = (int(whole.min()), int(whole.max())) if whole.size else (0, 0)
    fits = (name for name in ("i1", "i2") if np.iinfo(_TYPES[name]).min <= low and high <= np.iinfo(_TYPES[name]).max)
    return packed(whole, next(fits, "i4"))


def write_data(folder: str | Path, name: str, value: Any) -> Path:
    """Write ``folder/data/NAME.js`` atomically; characters beyond ASCII are escaped, and NaN is refused."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    content = f"universality.add({json.dumps(name)},{text});\n".encode("ascii")
    return write_bytes(Path(folder) / "data" / f"{name}.js", content)


class Words:
    """Texts that a page shows, each stored once and referred to by its place in ``texts``.

    Parameters
    ----------
    decode
        Function from token ids to one string each; bytes that form no character are surrogate escapes.
    shown
        Texts of single tokens that were made before, to which this adds its own; share it among the objects of one
        ``decode``.
    """

    def __init__(self, decode: Callable[[Sequence[int]], Sequence[str]], shown: dict[int, str] | None = None) -> None:
        self.texts: list[str] = []
        self.decode = decode
        self._shown = {} if shown is None else shown
        self._of_text: dict[str, int] = {}
        self._of_token: dict[int, int] = {}
        self._of_run: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        self._odd: dict[int, bool] = {}

    def token(self, token: int) -> int:
        """Return the place of one token's text."""
        place = self._of_token.get(token)
        if place is None:
            if token not in self._shown:
                self._shown[token] = _shown_text(self.decode([token])[0])
            place = self._of_token[token] = self._place(self._shown[token])
        return place

    def text(self, text: str) -> int:
        """Return the place of a token's text."""
        return self._place(_shown_text(text))

    def context(
        self, tokens: Sequence[int], focus: int, *columns: Sequence[int]
    ) -> tuple[list[int], int, list[list[int]]]:
        """Return the places of an excerpt, the place in focus, and the largest value of each column at every place.

        There are fewer places than tokens where tokens split a character, which is joined again.
        """
        places: list[int] = []
        values: list[list[int]] = [[] for _ in columns]
        at = start = 0
        while start < len(tokens):
            for place, length in self._run(tokens, start):
                if start <= focus < start + length:
                    at = len(places)
                places.append(place)
                for column, of_places in zip(columns, values, strict=True):
                    of_places.append(column[start] if length == 1 else max(column[start : start + length]))
                start += length
        return places, at, values

    def _run(self, tokens: Sequence[int], start: int) -> list[tuple[int, int]]:
        """Return (place, number of tokens) of one whole token, or of all tokens up to the next whole one."""
        stop = start
        while stop < len(tokens) and self._is_odd(tokens[stop]):
            stop += 1
        if stop == start:
            return [(self.token(tokens[start]), 1)]
        run = tuple(tokens[start:stop])
        if run not in self._of_run:  # runs recur often; joining one needs a decoder for every token in it
            self._of_run[run] = [(self._place(piece.text), len(piece.tokens)) for piece in pieces(self.decode(run))]
        return self._of_run[run]

    def _is_odd(self, token: int) -> bool:
        """Return whether the token may hold a part of a character that its neighbours complete."""
        if token not in self._odd:
            self._odd[token] = any("\ud800" <= c <= "\udfff" for c in self.decode([token])[0])
        return self._odd[token]

    def _place(self, text: str) -> int:
        text = shorten(text, LONGEST)
        if text not in self._of_text:
            self._of_text[text] = len(self.texts)
            self.texts.append(text)
        return self._of_text[text]


def _shown_text(text: str) -> str:
    """Write out what cannot be seen in a token's text."""
    # One character more than is shown is kept, so that shorten marks the cut.
    return visible(text[: LONGEST + 1], alone=False)
