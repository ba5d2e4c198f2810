"""Settings of a layout that contradict each other are refused."""

import pytest

from universality.corpus import TextLayout
from universality.errors import CorpusError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut": "lines"}, "cut: expected one of auto, whole, passages, headings, blank_lines, found 'lines'"),
        ({"cut": "whole", "separator": "x"}, "expected one of them, found cut and separator; leave one out"),
        ({"separator": ""}, "separator: expected text, found none"),
        ({"heading": "("}, r"heading: '\(' is not a regular expression: missing \)"),
        ({"columns": {"body": "text"}}, "columns: expected text, id, kind, group .* found 'body'"),
    ],
)
def test_layouts_that_cannot_work(settings: dict[str, object], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        TextLayout(**settings)
