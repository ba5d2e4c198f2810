"""Steering from the page gives the texts of `Study.steer`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from universality import Study
from universality.errors import UniversalityError
from universality.pipeline.steering import Sampling, Setting
from universality.serve.live_run import LiveComparison
from universality.serve.live_text import read_text
from universality.serve.steering_answer import steering_answer
from universality.visible_tokens import pieces


def test_texts_are_those_of_the_study(live: LiveComparison) -> None:
    feature = int(live.compared.calibration.match.cols[0])
    answer = steering_answer(live, 1, feature, "The cat", Setting(times=3), Sampling(6, seed=2))
    with Study.open(live.run.folder.root) as study:
        texts = study.steer(f"B:{feature}", "The cat", times=3, n_tokens=6, seed=2).texts
    shown = ["".join(piece.text for piece in pieces(text.steered)) for text in texts]
    assert [text["steered"] for text in answer["texts"]] == shown
    assert [text["change"] for text in answer["texts"]] == [text.change for text in texts]
    assert answer["partners"][0]["model"] == "A"


def test_numbers_out_of_range_are_refused(live: LiveComparison) -> None:
    with pytest.raises(UniversalityError, match="tokens: expected 1 to 100, found 101"):
        steering_answer(live, 0, 3, "", Setting(), Sampling(101))
    with pytest.raises(UniversalityError, match="times: expected 0 to 1000, found 2000"):
        steering_answer(live, 0, 3, "", Setting(times=2000), Sampling(1))
    with pytest.raises(UniversalityError, match="expected at most 8,000 characters"):
        steering_answer(live, 0, 3, "a" * 9000, Setting(), Sampling(1))


def test_texts_that_are_read_meanwhile_are_read_as_alone(live: LiveComparison) -> None:
    feature = int(live.compared.calibration.match.rows[0])

    def steered() -> object:
        return steering_answer(live, 0, feature, "The cat", Setting(times=50), Sampling(12))

    alone, text = steered(), read_text(live, "The cat sat").features[0].toarray()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(steered)
        read = [read_text(live, "The cat sat").features[0].toarray() for _ in range(6)]
        assert writing.result() == alone
    assert all((found == text).all() for found in read)
