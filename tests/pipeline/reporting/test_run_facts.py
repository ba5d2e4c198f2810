"""Facts of the planted run, which was stopped before it had a corpus."""

from types import SimpleNamespace
from typing import Any

from universality.pipeline.reporting.report_rows import language_models
from universality.pipeline.reporting.run_facts import run_facts, text_left_out
from universality.pipeline.reporting.run_results import open_results


def test_facts_name_settings_and_what_is_not_known(planted: Any) -> None:
    with open_results(*planted) as results:
        facts = dict(run_facts(results, language_models(results)))
        missing = list(results.missing)
    assert facts["SAEs"].endswith("widths 16, 24, k 4, " + f"{planted[0].saes.tokens:,} tokens each")
    assert facts["SAE seeds"] == "A 16: 0, A 24: 0, B 16: 0, B 24: 0"
    assert facts["Nulls"] == "global, kind, 2 replicates each, seed 0"
    assert facts["Intervals"] == "20 bootstrap resamples of works"
    assert facts["Initial dictionaries"] == "not known"
    assert "the distances between the SAEs' initial weights" in missing


def test_text_left_out_is_counted_and_repeated_text_too() -> None:
    corpus = {"special_left_out": 1200, "repeated_documents": 3, "notes": ["a folder"]}
    names = [name for name, _ in text_left_out(SimpleNamespace(corpus=corpus))]  # type: ignore[arg-type]
    assert names == [
        "Left out of the text",
        "Special tokens in the text",
        "Held-out documents whose exact text is in another split too",
    ]
