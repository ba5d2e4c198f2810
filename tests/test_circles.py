"""No two files import each other, at run time, however long the way round; wherever in a file the import stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import universality

PACKAGE = Path(universality.__file__).parent
ALLOWED: dict[frozenset[str], str] = {}
"""Modules of a circle that may stay, with the reason."""


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its full name; a folder stands for its ``__init__``."""
    names = {path: path.relative_to(package.parent).with_suffix("").parts for path in sorted(package.rglob("*.py"))}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a file but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from executed(child)


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports; of ``from package import name`` only a module of that name.

    What a package's ``__init__`` re-exports counts as an import of that ``__init__``.
    """
    names: set[str] = set()
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in known}
            if not all(name in known for name in inner):
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(known)


def circles(package: Path) -> set[frozenset[str]]:
    """Groups of modules each of which can be reached from every other along imports."""
    known = modules(package)
    arrows = {name: imported(path, known) for name, path in known.items()}
    reached = {name: reachable(name, arrows) for name in known}
    return {
        frozenset(other for other in reached[name] if name in reached[other]) for name in known if name in reached[name]
    }


def reachable(name: str, arrows: dict[str, set[str]]) -> set[str]:
    """Every module at the end of one arrow or more."""
    seen: set[str] = set()
    waiting = list(arrows[name])
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            waiting += arrows[other]
    return seen


def test_no_files_import_each_other() -> None:
    assert {tuple(sorted(circle)) for circle in circles(PACKAGE) - set(ALLOWED)} == set()


def test_a_circle_is_found_and_one_of_annotations_is_none(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from p.b import f\n")
    (package / "b.py").write_text("def f():\n    from p import c\n")
    (package / "c.py").write_text("import p.a\n")
    (package / "d.py").write_text("from p.e import g\n")
    (package / "e.py").write_text("if TYPE_CHECKING:\n    from p.d import h\n")
    assert circles(package) == {frozenset({"p.a", "p.b", "p.c"})}
