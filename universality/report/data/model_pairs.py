"""Three models or more, or three SAE seeds of one: every two of them, and features found in several."""

from dataclasses import dataclass

from universality.report.data.tables import WidthRow


@dataclass(frozen=True)
class Pairing:
    """Two of those that were compared.

    Parameters
    ----------
    a, b
        Their names.
    page
        Path of the page about them, relative to the one that names it; None if it is that one.
    row
        Their matching at the width that answers.
    """

    a: str
    b: str
    page: str | None
    row: WidthRow


@dataclass(frozen=True)
class SharedRow:
    """Features found in several models, where a partner counts from a held-out r on.

    Parameters
    ----------
    least
        That r.
    in_models
        Groups of partners with a feature of all models, of all but one … of two.
    alone
        Living features in no group.
    agreeing
        Groups whose every two members are each other's partners.
    cycles_tried, cycles_closed
        Features of one model with a partner in a second, whose partner has one in a third, which has one in the first;
        the share that comes back to itself, NaN where there is none.
    """

    least: float
    in_models: tuple[int, ...]
    alone: int
    agreeing: int
    cycles_tried: int
    cycles_closed: float
