"""Hooks of mkdocs: pages generated from the program, included files, pictures of results, equations.

- ``cli.md`` and ``configuration.md`` are generated from the parser and the configuration's fields, so they cannot be
  out of date.
- ``<!-- include: FILE -->`` and ``<!-- include: FILE # Heading -->`` are replaced by a Markdown file of the repository,
  or by the text under one of its headings, so that nothing is written twice.
- Executed notebooks become pages, with their outputs.
- The Python of ``gallery.md`` runs, and each figure stands beneath the block that draws it.
- Pictures of recorded results are served from ``analyses/results``, as ``results/…``.
- Equations become MathML, which browsers render without a script.
"""

import json
import re
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import is_dataclass
from inspect import signature
from os.path import normpath
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).parent.parent
RESULTS = "analyses/results"
PAGES = {
    "universality/features/storage/FORMAT.md": "format.md",
    f"{RESULTS}/README.md": "findings.md",
    "analyses/README.md": "scripts.md",
    f"{RESULTS}/": "results/",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/": "",
}
"""Where files of the repository are among the pages; the first that fits a link counts."""
LINK = re.compile(r"\]\((?P<to>(?!\w+:|[#/])[^)#]+)")
NOTEBOOK_LINK = re.compile(r"(?<=\w)\.ipynb\)(?!\{)")
"""Ends of links to notebooks, but for those that download the file."""
INCLUDE = re.compile(r"<!-- include: (?P<file>\S+)(?: # (?P<heading>.+?))? -->")
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
GALLERY = "gallery.md"
CODE = re.compile(r"^```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TYPES = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "nothing"}


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, those of the notebooks, and the pictures that are stored outside docs/."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "cli.md", content=cli_page()))
    files.append(File.generated(config, "configuration.md", content=configuration_page()))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=notebook_page(notebook)))
    for picture in sorted((ROOT / RESULTS).rglob("*.png")):
        name = picture.relative_to(ROOT / RESULTS).as_posix()
        files.append(File.generated(config, f"results/{name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any = None, **_: Any) -> str:
    """Replace include comments by the text that they name, and paths of pictures and notebooks by those of the site."""
    if page is not None and page.file.src_uri == GALLERY:
        return with_figures(markdown)
    markdown = markdown.replace(f"](../{RESULTS}/", "](results/")
    markdown = NOTEBOOK_LINK.sub(".md)", markdown)
    return INCLUDE.sub(lambda match: included(match["file"], match["heading"]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Replace the equations of a page by MathML."""
    return EQUATION.sub(lambda match: mathml(match["tex"], match["open"] == "["), html)


def on_post_build(config: Any) -> None:
    """Check that every exported name of a package is shown on its page of the API reference."""
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        if page.stem == "index":
            continue
        exported = exports(ROOT / "universality" / page.stem / "__init__.py")
        html = (Path(config.site_dir) / "api" / f"{page.stem}.html").read_text(encoding="utf-8")
        shown = set(re.findall(r'id="universality\.[\w.]*?(\w+)"', html))
        if missing := [name for name in exported if name not in shown]:
            raise ValueError(f"docs/api/{page.name} does not show {', '.join(missing)}")


def exports(module: Path) -> list[str]:
    """Read ``__all__`` of a module from its source; empty if there is none."""
    listed = re.search(r"^__all__ = (\[.*?\])", module.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return literal_eval(listed[1]) if listed else []


def on_config(config: Any) -> Any:
    """Rebuild when the program changes, while mkdocs serves."""
    config.watch.append(str(ROOT / "universality"))
    return config


def included(file: str, heading: str | None = None) -> str:
    """Read a Markdown file of the repository, or the text under one of its headings, with links made to fit the pages.

    Raises
    ------
    ValueError
        If the file has no such heading.
    """
    body = (ROOT / file).read_text(encoding="utf-8")
    if heading is not None:
        section = re.search(rf"^(##+) {re.escape(heading)}\n(?P<body>.*?)(?=^\1 |\Z)", body, re.MULTILINE | re.DOTALL)
        if section is None:
            raise ValueError(f"{file}: no heading {heading!r}")
        body = section["body"]
    folder = Path(file).parent
    body = LINK.sub(lambda link: f"]({normpath(folder / link['to'])}", body)  # from the root, wherever the file lies
    for path, page in PAGES.items():
        body = body.replace(f"]({path}", f"]({page}")
    return re.sub(r"\[([^]]+)\]\((?:universality|analyses|results/(?![^)]+\.png))[^)]*\)", r"\1", body).strip()


def mathml(tex: str, block: bool) -> str:
    """Convert an equation to MathML, with its TeX source as text for screen readers.

    Raises
    ------
    ValueError
        If the converter does not know a command, which would otherwise appear literally.
    """
    from html import escape, unescape

    from latex2mathml.converter import convert

    tex = unescape(tex).strip()
    converted = convert(tex, display="block" if block else "inline")
    if unknown := re.search(r">\\\w+", converted):
        raise ValueError(f"{tex}: {unknown[0][1:]} is not understood")
    return converted.replace("<math ", f'<math alttext="{escape(tex, quote=True)}" ', 1)


def with_figures(markdown: str) -> str:
    """Run the Python of a page, block after block with shared names, and show each figure beneath its block."""
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, Any] = {}

    def shown(block: re.Match[str]) -> str:
        exec(compile(block["text"], GALLERY, "exec"), names)
        return "\n\n".join([block[0], *drawn_figures()])

    return CODE.sub(shown, markdown)


def drawn_figures() -> Iterator[str]:
    """Yield pyplot's open figures as images, and close them."""
    from base64 import b64encode
    from io import BytesIO

    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        png = BytesIO()
        pyplot.figure(number).savefig(png, dpi=110, bbox_inches="tight")
        content = b64encode(png.getvalue()).decode()
        yield f'<img alt="The figure that this code draws" src="data:image/png;base64,{content}">'
    pyplot.close("all")


def notebook_page(path: Path) -> str:
    """Convert an executed notebook to Markdown: its text, its code, and its outputs as HTML, pictures or text.

    Raises
    ------
    ValueError
        If a code cell has not been executed.
    """
    parts = [f"[Notebook file]({path.name}){{download}}"]
    for number, one in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(one["source"])
        if one["cell_type"] == "markdown":
            parts.append(source)
            continue
        if one["execution_count"] is None:
            raise ValueError(f"{path}: cell {number} has not been executed; `make notebooks` does it")
        parts.append(f"```python\n{source}\n```")
        parts += [shown_output(output) for output in one["outputs"]]
    title, *rest = parts[1], parts[0], *parts[2:]
    return "\n\n".join([title, *rest]) + "\n"


def shown_output(output: dict[str, Any]) -> str:
    """Convert an output of a notebook's cell to Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="Figure" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        html = re.sub(r"<style scoped>.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        html = re.sub(r'<table [^>]*class="dataframe"[^>]*>', "<table>", html)  # the theme styles those alone
        joined = "".join(line.strip() for line in html.splitlines())  # an empty line would end the HTML
        return f'<div class="output">{joined}</div>'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text else ""


def cli_page() -> str:
    """Generate the page of the command line from its parser, with the texts of ``universality COMMAND --help``."""
    from typer.main import get_command

    from universality.cli import app

    root: Any = get_command(app)
    parts = ["# Command line", paragraphs(root.help), "`universality COMMAND --help` prints the same text."]
    for name, command in root.commands.items():
        takes = signature(command.callback).parameters
        arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
        rows = [f"| {spelled(p, takes[p.name].annotation)} | {help_of(p)} |" for p in command.params]
        parts += [
            f"## {name}",
            f"```text\n{' '.join(['universality', name, *arguments, '[OPTIONS]'])}\n```",
            paragraphs(command.help),
            "\n".join(["| argument or option | |", "|---|---|", *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def spelled(parameter: Any, annotation: Any) -> str:
    """Write an argument or option as on the command line."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    value = parameter.metavar or ("PATH" if Path in (annotation, *get_args(get_args(annotation)[0])) else "TEXT")
    return ", ".join(f"`{option}`" if parameter.is_flag else f"`{option} {value}`" for option in parameter.opts)


def help_of(parameter: Any) -> str:
    """Help text of an argument or option, with its default."""
    return cell(parameter.help) + (f" Default: `{parameter.default}`." if parameter.default else "")


def paragraphs(text: str) -> str:
    """Put each paragraph of a docstring on one line."""
    return "\n\n".join(" ".join(part.split()) for part in cell(text, keep_breaks=True).split("\n\n"))


def cell(text: str, keep_breaks: bool = False) -> str:
    """Convert the text of a docstring to Markdown, on one line for a table's cell unless breaks are kept."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return text if keep_breaks else " ".join(text.split()).replace("|", "\\|")


def configuration_page() -> str:
    """Generate the page of the configuration, with every key, from the fields and their docstrings."""
    from universality.config import Config

    quickstart = (ROOT / "configs/quickstart.yaml").read_text(encoding="utf-8")
    parts = [
        "# Configuration",
        "A configuration is one YAML file; keys that it leaves out have the default below. An unknown key is refused, "
        "and the message names the nearest known one. `--set KEY=VALUE` overrides a key for one call, with dots "
        "between sections: `--set saes.k=16`. This is what `make demo` runs:",
        f"```yaml\n{quickstart.strip()}\n```",
        *sections(Config, ""),
    ]
    return "\n\n".join(parts) + "\n"


def sections(model: Any, prefix: str) -> Iterator[str]:
    """Yield a heading and a table for each section, the outer ones first."""
    from universality.config import keys_of

    yield f"## {prefix.rstrip('.') or 'Top level'}"
    yield paragraphs(model.__doc__)
    rows, inner = [], []
    for name, field in keys_of(model).items():
        section = section_of(field.annotation)
        if section is not None:
            inner.append((section, f"{prefix}{name}."))
        if section is None or get_origin(field.annotation) is dict:
            rows.append(f"| `{name}` | {type_of(field)} | {default_of(field)} | {cell(field.description)} |")
    yield "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows]) if rows else ""
    for section, place in inner:
        yield from sections(section, place)


def section_of(annotation: Any) -> Any:
    """Find the section that a key holds, one or several by name; None if the key holds a plain value."""
    held = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
    return held if is_dataclass(held) or hasattr(held, "model_fields") else None


def type_of(field: Any) -> str:
    """Type and limits of a key, in words."""
    from universality.checked_settings import limits_in_words

    return cell(", ".join(filter(None, [worded(field.annotation), limits_in_words(field.metadata)])))


def worded(annotation: Any) -> str:
    """Type of a key, in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inside)
    if origin in (UnionType, Union):
        return " or ".join(worded(member) for member in inside)
    if origin is list:
        return f"list of {worded(inside[0])}s"
    if origin is dict:
        return "section of named values"
    return worded(inside[0]) if inside else TYPES.get(annotation, "section")


def default_of(field: Any) -> str:
    """Default of a key as YAML spells it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, [], {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
