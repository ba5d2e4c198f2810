"""Formatting of numbers in sentences, tables and captions."""

import math
from collections.abc import Sequence

MISSING = "–"


def fixed(value: float | None, digits: int = 2) -> str:
    """Format a number as ``0.36`` with a true minus, and a missing one as a dash. A zero is never negative.

    Examples
    --------
    >>> fixed(-0.127), fixed(-0.001), fixed(None)
    ('−0.13', '0.00', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:z.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 0) -> str:
    """Format a share as ``34%``; a share above 0 or below 1 is never written as 0% or 100%.

    Examples
    --------
    >>> percent(0.343), percent(0.0004), percent(0.9999), percent(1.0), percent(float("nan"))
    ('34%', '<1%', '>99%', '100%', '–')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    least = 10.0**-digits
    if 0 < share * 100 < least:
        return f"<{least:.{digits}f}%"
    if 100 - least < share * 100 < 100:
        return f">{100 - least:.{digits}f}%"
    return fixed(share * 100, digits) + "%"


def count(value: float | None) -> str:
    """Format a count as ``40,960``, and a missing one as a dash."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def counts(values: Sequence[int]) -> str:
    """Format counts as in ``4,096 and 16,384``.

    Examples
    --------
    >>> counts((4096,)), counts((4096, 16384))
    ('4,096', '4,096 and 16,384')
    """
    return listed([count(value) for value in values])


def small(value: float | None) -> str:
    """Format a number that may be tiny, such as a q-value or a gap, with two significant digits.

    Examples
    --------
    >>> small(0.0123), small(6.9e-13), small(0.0), small(None)
    ('0.012', '6.9×10⁻¹³', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if abs(value) >= 10:
        return fixed(value, 0)
    if abs(value) >= 0.001:
        return f"{value:.2g}".replace("-", "−")
    mantissa, exponent = f"{value:.1e}".split("e")
    return mantissa.replace("-", "−") + "×" + power_of_ten(int(exponent))


def power_of_ten(exponent: int) -> str:
    """Format a power of ten as ``10⁻³``, in characters that every font has."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Format an interval as ``0.31 to 0.42``; empty where an end is not known."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{fixed(low, digits)} to {fixed(high, digits)}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """Format a count with its noun: ``1 pair``, ``2 pairs``.

    Examples
    --------
    >>> plural(1, "pair"), plural(2048, "pair"), plural(2, "dictionary", "dictionaries")
    ('1 pair', '2,048 pairs', '2 dictionaries')
    """
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def of_all(scored: int, n: int) -> str:
    """Format the number of scored features of a population.

    Examples
    --------
    >>> of_all(2024, 2047), of_all(512, 512)
    ('2,024 of 2,047 scored', '512 of 512 scored')
    """
    return f"{count(scored)} of {count(n)} scored"


def listed(items: list[str]) -> str:
    """Join items as in ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
