"""A caution beside an answer, with what its reader can do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """A reason to trust an answer less, and what to do about it.

    Parameters
    ----------
    text
        The reason, as sentences.
    advice
        What to do, as a sentence: change a setting and run again, or read a number in another way.
    in_settings
        Whether another run can remove it. A page shows those first and folds the others, which follow from the text,
        the models or the result.

    Examples
    --------
    >>> print(Caution("Partners are scored on 900 tokens.", "Give more text."))
    Partners are scored on 900 tokens. Give more text.
    """

    text: str
    advice: str = ""
    in_settings: bool = True

    def __str__(self) -> str:
        return f"{self.text} {self.advice}".strip()
