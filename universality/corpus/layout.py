"""How the files of a source are laid out: names of columns, and where a text file is cut into works."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from universality.corpus.records import check_columns
from universality.errors import CorpusError

Cut = Literal["auto", "whole", "passages", "headings", "blank_lines"]
_CUTS = ("auto", "whole", "passages", "headings", "blank_lines")


@dataclass(frozen=True)
class TextLayout:
    """Names of columns, and the marks at which a text file is cut into works.

    Raises
    ------
    CorpusError
        If a setting is unknown or unusable, or two settings say where to cut.

    Examples
    --------
    >>> TextLayout(separator="<|endoftext|>").how
    'separator'
    >>> TextLayout(cut="passages", heading="^CHAPTER ")
    Traceback (most recent call last):
    universality.errors.CorpusError: cut, separator, heading: expected one of them, found cut and heading; leave one out
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field (``text``, ``kind``, ``group``, ``id``) → name of its column, where that differs."""
    cut: Cut = "auto"
    """Where a text file is cut into works, and these into passages of at most 4,000 characters. ``whole``: a file is
    one document. ``passages``: a file is one work. ``headings``: a Markdown heading, a WikiText title or a chapter
    begins a work. ``blank_lines``: blank lines separate works. ``auto``: a long text file that is the only source is
    cut at ``<|endoftext|>``, titles of WikiText or top headings of a ``.md``, or else into passages of one work; other
    files stay whole."""
    separator: str | None = None
    """Text between two works of a text file, such as ``<|endoftext|>``."""
    heading: str | None = None
    """Regular expression that matches the beginning of a line with which a work of a text file begins: ``CHAPTER``."""

    def __post_init__(self) -> None:
        check_columns(self.columns)
        if self.cut not in _CUTS:
            raise CorpusError(f"cut: expected one of {', '.join(_CUTS)}, found {self.cut!r}")
        given = [name for name in ("cut", "separator", "heading") if getattr(self, name) not in ("auto", None)]
        if len(given) > 1:
            raise CorpusError(
                f"cut, separator, heading: expected one of them, found {' and '.join(given)}; leave one out"
            )
        if self.separator == "":
            raise CorpusError("separator: expected text, found none; cut: passages takes a file for one work")
        try:
            re.compile(self.heading or "")
        except re.error as error:
            raise CorpusError(f"heading: {self.heading!r} is not a regular expression: {error}") from None

    @property
    def how(self) -> str:
        """Name of what decides where a text file is cut: a value of ``cut``, ``separator`` or ``heading``."""
        return "separator" if self.separator else "heading" if self.heading else self.cut


DEFAULT_LAYOUT = TextLayout()
