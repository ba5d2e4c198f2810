"""Search finds exactly the features whose number, label, token or kind holds the query."""

from dataclasses import replace

import pytest

from universality.errors import UniversalityError
from universality.labels.label_file import FeatureLabel
from universality.serve.feature_search import MOST_RESULTS, search_answer
from universality.serve.live_run import LiveComparison


def test_by_number(live: LiveComparison) -> None:
    sides = search_answer(live, "#17")["sides"]
    assert [[one["feature"] for one in side["features"][:1]] for side in sides] == [[17], [17]]
    assert sides[0]["features"][0]["by"] == "number"


def test_by_kind(live: LiveComparison) -> None:
    kinds = live.sides[0].described.specificity
    kind = kinds.kinds[int(kinds.kind.max())]
    found = search_answer(live, kind.upper())["sides"][0]
    of_kind = {i for i, name in enumerate(kinds.kind_names) if name is not None and kind in name}
    by_kind = {one["feature"] for one in found["features"] if one["by"] == "kind"}
    assert by_kind <= of_kind
    assert of_kind <= {one["feature"] for one in found["features"]} or found["n"] > MOST_RESULTS


def test_by_token(live: LiveComparison) -> None:
    described = live.sides[1].described
    strings = described.strings(range(live.sides[1].n_features), 8, live.run.results.decode)
    token = next(text for texts in strings for text in texts if text.strip().isalpha() and len(text.strip()) > 1)
    holds = {i for i, texts in enumerate(strings) if any(token.strip().lower() in text.lower() for text in texts)}
    found = search_answer(live, token)["sides"][1]
    by_token = {one["feature"] for one in found["features"] if one["by"] == "token"}
    assert by_token == holds
    assert search_answer(live, "no token is this one")["sides"][1]["n"] == 0


def test_by_label(live: LiveComparison) -> None:
    label = FeatureLabel(7, "Days of the week", "answered")
    labelled = replace(live, sides=(replace(live.sides[0], labels={7: label}), live.sides[1]))
    (found,) = search_answer(labelled, "of the WEEK")["sides"][0]["features"]
    assert (found["feature"], found["by"], found["label"]) == (7, "label", "Days of the week")


@pytest.mark.parametrize("query", ["", "   ", "a" * 201])
def test_queries_have_a_length(live: LiveComparison, query: str) -> None:
    with pytest.raises(UniversalityError, match="search: expected 1 to 200 characters"):
        search_answer(live, query)
