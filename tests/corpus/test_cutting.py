"""Texts with planted works are cut exactly there, however the pieces fall; texts without marks are one work."""

import random
import re

import pytest

from universality.corpus.cutting import LONGEST, Cutting, cut_passages, decide_cutting
from universality.corpus.layout import TextLayout

WORKS = ["one\nstill one", "two" * 2000, "  three\n\n  indented", "four"]


def broken(text: str, seed: int) -> list[str]:
    """Cut a text at every line end and at some other places, where lines that are longer than a chunk end."""
    longest = random.Random(seed).randint(1, 9)
    return re.findall(f".{{1,{longest}}}\n?|\n", text)


def works_of(pieces: list[str], cutting: Cutting) -> list[str]:
    joined: dict[int, str] = {}
    for part in cut_passages(pieces, cutting):
        assert part.text == part.text.rstrip().lstrip("\r\n")
        assert 0 < len(part.text) <= LONGEST
        joined[part.work] = joined.get(part.work, "") + part.text
    assert list(joined) == list(range(1, len(joined) + 1))
    return list(joined.values())


@pytest.mark.parametrize("separator", ["<|endoftext|>", "\n---\n", "\n\n\n", "aab"])
@pytest.mark.parametrize("seed", range(5))
def test_a_separator_is_found_wherever_the_pieces_end(separator: str, seed: int) -> None:
    text = separator + separator.join(WORKS) + 2 * separator
    assert works_of(broken(text, seed), Cutting(separator=separator)) == WORKS
    assert len(works_of(broken(text, seed), Cutting())) == 1  # control


def test_blank_lines_and_headings() -> None:
    lines = "\n \na\nb\n\n\t\r\n\nc\n".splitlines(keepends=True)
    assert works_of(lines, Cutting(blank_lines=True)) == ["a\nb", "c"]
    assert works_of(["a", "  ", "b\n", "  ", " \n", "c"], Cutting(blank_lines=True)) == ["a  b", "c"]
    heading = Cutting(heading=re.compile("CHAPTER "))
    text = "preface\nCHAPTER I\nin CHAPTER II\n" + "x" * 20 + "CHAPTER III"
    assert [p.text for p in cut_passages(text.splitlines(keepends=True), heading)] == [
        "preface",
        "CHAPTER I\nin CHAPTER II\n" + "x" * 20 + "CHAPTER III",
    ]
    pieces = ["x" * 70_000, "CHAPTER of the same line\n", "CHAPTER I\n"]  # a long line comes in pieces
    assert max(p.work for p in cut_passages(pieces, heading)) == 2


def test_passages_end_at_the_best_break_and_lose_nothing() -> None:
    words = " ".join(f"word{i}" for i in range(4000))
    paragraphs = re.sub(r"(word\d*00) ", r"\1\n\n", words)
    for text in (words, paragraphs, "無" * 9000, "無。" * 4500):
        parts = [p.text for p in cut_passages([text], Cutting())]
        assert all(LONGEST // 2 <= len(part) <= LONGEST for part in parts[:-1])
        assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(p.text.startswith("word") for p in cut_passages([words], Cutting()))
    assert all(re.search(r"00$", p.text) for p in list(cut_passages([paragraphs], Cutting()))[:-1])


LONG = "plain text. " * 400
WIKI = "".join(f" = Title {i} = \n\n = = Part = = \n{LONG}\n" for i in range(8))
MARKDOWN = "".join(f"# Title {i}\n\n```\n# a comment\n```\n{LONG}\n" for i in range(8))


@pytest.mark.parametrize(
    ("layout", "text", "markdown", "mark", "works"),
    [
        (TextLayout(), "a<|endoftext|>b", False, "the separator '<|endoftext|>'", 2),
        (TextLayout(), WIKI, False, "WikiText titles", 8),
        (TextLayout(), WIKI[: len(WIKI) // 2], False, "", 1),  # too few titles to tell
        (TextLayout(), MARKDOWN, True, "Markdown headings #", 8),
        (TextLayout(), MARKDOWN, False, "", 1),  # code, in which # begins a comment
        (TextLayout(cut="headings"), MARKDOWN, False, "Markdown headings #", 8),
        (TextLayout(cut="headings"), "## A\na\n## B\nb", True, "Markdown headings ##", 2),
        (TextLayout(cut="headings"), f"CHAPTER I.\n{LONG}\n\tChapter 2\nb", False, "chapters", 2),
        (TextLayout(cut="headings"), f"chapter i\n{LONG}\npart mild", False, "", 1),
        (TextLayout(cut="passages"), "a<|endoftext|>b", False, "", 1),
        (TextLayout(heading="Act "), "Act 1\na\nAct 2\nb", False, "the heading 'Act '", 2),
    ],
)
def test_where_a_text_is_cut(layout: TextLayout, text: str, markdown: bool, mark: str, works: int) -> None:
    cutting = decide_cutting(layout, text.splitlines(keepends=True), markdown)
    assert cutting is not None
    assert cutting.mark == mark
    assert len(works_of(text.splitlines(keepends=True), cutting)) == works


def test_what_stays_whole() -> None:
    assert decide_cutting(TextLayout(), ["short\n\n", "text"]) is None
    assert decide_cutting(TextLayout(), [LONG]) == Cutting()
    assert decide_cutting(TextLayout(cut="whole"), [LONG]) is None
