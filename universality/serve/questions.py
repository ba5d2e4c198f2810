"""Questions that the page asks, checked before they are answered."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from universality.errors import UniversalityError
from universality.pipeline.steering import TIMES, Sampling, Setting

MOST_BYTES = 2**16
"""Longest body of a request."""


class Question(BaseModel):
    """Question whose fields are all known and of the right type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TextQuestion(Question):
    """Which features fire on this text?"""

    text: str


class SteeringQuestion(Question):
    """What do both models write with this feature and its partner set?"""

    side: Annotated[int, Field(ge=0, le=1)]
    feature: Annotated[int, Field(ge=0)]
    prompt: str = ""
    times: Annotated[float, Field(ge=0)] = TIMES
    ablate: bool = False
    tokens: Annotated[int, Field(ge=1)] = 40
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @property
    def setting(self) -> Setting:
        """Value to which the features are set."""
        return Setting(ablated=True) if self.ablate else Setting(times=self.times)

    @property
    def sampling(self) -> Sampling:
        """How the texts are sampled."""
        return Sampling(self.tokens, self.temperature, self.seed)


def refuse_half_pair(name: str, text: str) -> None:
    """Refuse a text with half of a surrogate pair, which no encoding can hold.

    Raises
    ------
    UniversalityError
        If there is one; names the field and the character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UniversalityError(
            f"{name}: character {error.start + 1} is half of a surrogate pair, which is not text; remove it"
        ) from None


def _refuse_half_pairs(body: bytes) -> None:
    """Name the half of a surrogate pair in a body, of which the JSON reader says only that an escape is wrong."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, str):
            refuse_half_pair(str(name), value)


Q = TypeVar("Q", bound=Question)


def read_question(kind: type[Q], body: bytes) -> Q:
    """Read a question.

    Raises
    ------
    UniversalityError
        If it is not JSON, or a field is unknown, missing, of another type or not Unicode; names the first.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            _refuse_half_pairs(body)
        where = ".".join(map(str, first["loc"])) or "the question"
        raise UniversalityError(f"{where}: {first['msg']}") from None
