"""Dozens of notes of one sort are one line of the page."""

from universality.pipeline.reporting.result_notes import merge_kind_notes


def test_notes_on_kinds_of_one_work_are_put_together() -> None:
    notes = [f"kind {kind}: one group holds 9 of 9 blocks; none can meet another group" for kind in ("thai", "lao")]
    lines = merge_kind_notes([*notes, "another note"])
    assert lines[0] == "another note"
    assert lines[1].startswith("In 2 kinds one work holds more than half")
    assert lines[1].endswith(": thai and lao.")
    assert merge_kind_notes([notes[0], "another note"]) == [notes[0], "another note"]
