"""The page, read by a real parser: nothing escapes, nothing is fetched, everything is named."""

import base64
import dataclasses
import hashlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from universality.errors import UniversalityError
from universality.report import Example, FileLink, Report, figures, render, write_report
from universality.report.html import _stretches
from universality.visible_tokens import visible

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes and texts; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, [self.tags[i][0] for i in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.tags) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self.tags[self._open.pop()][0]
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for i in self._open:
            self.tags[i][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[str]:
        """Texts of the tags of a name and class."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return ["".join(text) for name, found, text in self.tags if name == tag and wanted.items() <= found.items()]

    @property
    def text(self) -> str:
        return "".join(self.all("body"))


@pytest.fixture(scope="module")
def html(full: Report) -> str:
    return render(full)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_nothing_from_outside_becomes_markup(page: Page) -> None:
    tags = [tag for tag, _, _ in page.tags]
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert "alert" not in page.all("script")[0]
    allowed = {
        "lang", "charset", "name", "content", "http-equiv", "rel", "href", "class", "id", "aria-label", "role",
        "tabindex", "scope", "src", "alt", "style", "dir", "data-v",
    }  # fmt: skip
    assert {key for _, attributes, _ in page.tags for key in attributes} <= allowed
    assert "49" not in page.all("title")[0]


def test_every_token_is_shown_as_what_it_is(page: Page, nasty: tuple[str, ...]) -> None:
    chips = page.all("bdi", class_="tok")
    for token in nasty:
        assert visible(token, mark_spaces=True) in chips
    assert "{{ 7 * 7 }}" in page.text


def test_no_character_of_the_page_is_hidden_or_turns_the_text(html: str) -> None:
    assert visible(html.replace("\n", "")) == html.replace("\n", "")
    html.encode("utf-8")


def test_contexts_are_isolated_and_go_the_way_of_their_letters() -> None:
    hebrew = Example(("שלום", " ", "עולם"), (0.0, 0.0, 1.0), 2)
    assert [(s.text, s.share, s.focus) for s in _stretches(hebrew)] == [("שלום ", 0.0, False), ("עולם", 1.0, True)]


def test_shades_follow_the_activations_and_characters_stay_whole() -> None:
    nan = float("nan")
    example = Example(("a", "b", "\udcd7", "\udca9", "c", "d"), (0.0, nan, 1.0, 4.0, 2.0, 0.0), 2)
    assert [(s.text, s.share, s.focus) for s in _stretches(example)] == [
        ("ab", 0.0, False), ("ש", 1.0, True), ("c", 0.5, False), ("d", 0.0, False),
    ]  # fmt: skip
    silent = Example(("a", "b"), (nan, -1.0), 0)
    assert [s.share for s in _stretches(silent)] == [0.0, 0.0]


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes, _ in page.tags:
        for key in ("src", "href"):
            value = attributes.get(key) or ""
            assert not value or value.startswith(("data:", "#")) or (tag == "a" and ":" not in value), value
    assert "url(" not in page.all("style")[0]
    assert "@import" not in page.all("style")[0]


def test_the_policy_allows_the_script_by_its_hash_and_nothing_else(page: Page) -> None:
    policy = next(a["content"] for _, a, _ in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.all("script")[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")


def test_pictures_are_inside_with_alt_text_and_caption(page: Page, full: Report) -> None:
    (image,) = [attributes for tag, attributes, _ in page.tags if tag == "img"]
    kind, _, content = (image["src"] or "").partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == full.pictures[0].svg
    assert image["alt"] == full.pictures[0].caption.alt
    assert page.all("figcaption")[0].startswith("Figure 1. Best matches.")


def test_a_heavy_drawing_is_embedded_as_png(full: Report) -> None:
    heavy = dataclasses.replace(full.pictures[0], svg=b"<svg>" + b" " * 400_000)
    assert "data:image/png;base64," in render(dataclasses.replace(full, pictures=(heavy,)))


def test_tables_have_captions_and_their_cells_headings(page: Page) -> None:
    tags = [tag for tag, _, _ in page.tags]
    assert tags.count("table") == tags.count("caption") >= 7
    assert all("scope" in attributes for tag, attributes, _ in page.tags if tag == "th")


def test_headings_do_not_skip_a_level_and_links_lead_somewhere(page: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [attributes["id"] for _, attributes, _ in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = {(a["href"] or "")[1:] for t, a, _ in page.tags if t == "a" and (a["href"] or "").startswith("#")}
    assert inside <= set(ids)


def test_the_numbers_are_on_the_page(page: Page) -> None:
    for part in (
        "Largely yes: ", "by chance none would.", "95% interval over features", "over 61 works 0.47 to 0.53",
        "works 0.47 to 0.53",
        "Neither covers another training seed", "(95% over works:",
        "0.72", "0.46", "6.9×10⁻¹³", "does not predict held-out text better",
        "A warning of the caller's.", "A limit of the caller's.", "blocks.0.mlp.hook_post", "From 512 to 2,048",
        "universality run configs/quickstart.yaml", "Promotes", "published 0.10", "83.0%",
    ):  # fmt: skip
        assert part in page.text, part


def test_concepts_with_published_values_come_first_and_few_groups_are_marked(page: Page) -> None:
    kinds = [text.split("5,000")[0].strip() for tag, a, parts in page.tags if tag == "th" and a.get("scope") == "row"
             for text in ["".join(parts)] if "5,000 tokens" in text]  # fmt: skip
    assert kinds[:2] == ["hebrew", "base64 †"]


def test_files_are_linked_relative_and_encoded(page: Page) -> None:
    assert "../matches/A-B%20w512.csv" in [a["href"] for tag, a, _ in page.tags if tag == "a"]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "http://x/y", "javascript:alert(1)", "..\\x", "C:/x", "//host/x"])
def test_a_link_that_is_not_relative_is_refused(full: Report, path: str) -> None:
    with pytest.raises(UniversalityError, match="expected a path relative to the report's folder"):
        render(dataclasses.replace(full, files=(FileLink(path, "x"),)))


def test_the_page_is_written_whole_and_the_same_each_time(full: Report, folder: Path) -> None:
    path = write_report(full, folder / "index.html")
    first = path.read_bytes()
    assert write_report(full, path).read_bytes() == first == render(full).encode("utf-8")
    assert [p.name for p in folder.iterdir()] == ["index.html"]


def test_the_least_report_has_only_what_it_needs(headline) -> None:  # type: ignore[no-untyped-def]
    page = Page(render(Report("t", headline([]))))
    assert "No answer: no pair of features could be scored" in page.text
    assert "cannot answer the question" in page.text
    ids = {attributes.get("id") for _, attributes, _ in page.tags}
    assert {"answer", "reading", "limits", "run"} <= ids
    assert not {"widths", "models", "concepts", "pairs", "families"} & ids


def test_pictures_show_up_without_their_sections_tables(headline, full: Report) -> None:  # type: ignore[no-untyped-def]
    sections = ("answer", "widths", "concepts", "pairs", "families", "training")
    some = tuple(dataclasses.replace(full.pictures[0], name=f"p-{s}", section=s) for s in sections)
    page = Page(render(Report("t", headline(), pictures=some)))
    assert sorted(text[:8] for text in page.all("figcaption")) == [f"Figure {i}" for i in range(1, 7)]


def test_the_api_is_there() -> None:
    assert all(hasattr(figures, name) for name in figures.__all__)
