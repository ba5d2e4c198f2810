"""Steering from the page: what both models write plain, and with a feature and its partner set."""

from __future__ import annotations

from typing import Any

from universality.errors import UniversalityError
from universality.pipeline.steering import Sampling, Setting, SteeredText, Steering, steer
from universality.serve.few_cores import cores_for
from universality.serve.live_run import LiveComparison, number
from universality.serve.live_text import check_text
from universality.visible_tokens import pieces

MOST_WRITTEN = 100
"""Tokens that each text may have."""
MOST_TIMES = 1_000.0
Json = dict[str, Any]


def steering_answer(
    live: LiveComparison, which: int, feature: int, prompt: str, setting: Setting, sampling: Sampling
) -> Json:
    """Return plain and steered texts of a feature and its partner, ready for JSON.

    Parameters
    ----------
    which, feature
        Side and index of the feature.
    prompt, setting, sampling
        As for `universality.Study.steer`.

    Raises
    ------
    UniversalityError
        If there is no such feature, it never fires and a multiple of its maximum is asked for, or a number is out of
        range.
    ModelError
        If a model cannot be loaded.
    """
    if prompt:
        check_text(prompt)
    if not 1 <= sampling.n_tokens <= MOST_WRITTEN:
        raise UniversalityError(f"tokens: expected 1 to {MOST_WRITTEN}, found {sampling.n_tokens}")
    if setting.times is not None and not 0 <= setting.times <= MOST_TIMES:
        raise UniversalityError(f"times: expected 0 to {MOST_TIMES:g}, found {setting.times:g}")
    side = live.sides[which]
    largest = max(live.run.cost(one.model) for one in live.sides)
    with cores_for(largest * live.run.results.config.corpus.n_ctx):
        steering = steer(
            live.run.results, live.run.site, f"{side.model}:{feature}", prompt, setting, sampling,
            width=side.width, sae_seed=side.seed,
        )  # fmt: skip
    return {"side": which, "feature": feature, "texts": _texts(steering), "partners": _partners(steering)}


def _texts(steering: Steering) -> list[Json]:
    return [
        {"model": text.feature.model, "feature": text.feature.feature, "change": text.change, **_shown(text)}
        for text in steering.texts
    ]


def _shown(text: SteeredText) -> Json:
    return {
        name: "".join(piece.text for piece in pieces(tokens))
        for name, tokens in (("plain", text.plain), ("steered", text.steered))
    }


def _partners(steering: Steering) -> list[Json]:
    return [
        {
            "model": score.partner.model,
            "feature": score.partner.feature,
            "held_out": number(score.held_out),
            "chance": number(score.null_quantile),
            "alpha": score.alpha,
        }
        for score in steering.partners
    ]
