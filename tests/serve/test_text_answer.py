"""Pairs agree on a text exactly where their features fire together, counted again from the dense activations."""

import json

import numpy as np

from universality.serve.live_run import LiveComparison
from universality.serve.live_text import read_text
from universality.serve.text_answer import AGREES, text_answer

TEXT = "def parse(line):\n    return line.split(',')  # שלום עולם 🙂"


def test_firings_are_those_of_the_activations(live: LiveComparison) -> None:
    answer, read = text_answer(live, TEXT), read_text(live, TEXT)
    shown = [answer["words"][place] for place in answer["pieces"]]
    assert shown[:2] == ["d", "e"] or "".join(shown).startswith("def parse(line):⏎")
    assert "🙂" in shown  # one piece, though several tokens
    assert len(shown) < answer["n_tokens"] == len(read.strings)
    for side, given, x in zip(live.sides, answer["sides"], read.features, strict=True):
        dense = x.toarray()
        assert given["features"] == np.flatnonzero((dense != 0).any(axis=0)).tolist()
        assert given["n"] == (dense != 0).sum(axis=0)[given["features"]].tolist()
        assert given["pair"] == side.pair_of[given["features"]].tolist()
        for k, feature in enumerate(given["features"]):
            peak = 100 * dense[:, feature].max() / side.maxima[feature]
            assert abs(max(given["share"][k]) - max(1, peak)) <= 0.5


def test_agreement_is_counted_on_tokens(live: LiveComparison) -> None:
    answer, read = text_answer(live, TEXT), read_text(live, TEXT)
    a, b = (x.toarray() != 0 for x in read.features)
    agreeing = 0
    for pair in answer["pairs"]:
        x, y = a[:, pair["features"][0]], b[:, pair["features"][1]]
        assert (x | y).any()
        assert pair["both"] == (x & y).sum()
        assert pair["only"] == [(x & ~y).sum(), (y & ~x).sum()]
        assert pair["agree"] == ((x & y).sum() >= AGREES * (x | y).sum())
        agreeing += pair["agree"]
    assert 0 < agreeing < len(answer["pairs"])
    firing = {p for side in answer["sides"] for p in side["pair"] if p >= 0}
    assert {pair["pair"] for pair in answer["pairs"]} == firing
    json.dumps(answer, allow_nan=False)
