"""Arrows inside ``universality.sae``: architectures, then compute, then what is made of them, then training."""

import ast
from pathlib import Path

import pytest

import universality.sae

PACKAGE = Path(universality.sae.__file__).parent
RANK = {
    "architectures": 0,
    "compute": 1,
    "normalisation": 0,
    "activation_summary": 2,
    "formats": 1,
    "sae": 2,
    "crosscoder": 3,
    "typical_token": 3,
    "quality": 4,
    "latent_scaling": 4,
    "recorded_differences": 4,
    "training": 5,
    "__init__": 6,
}
"""A part may import from parts of a lower rank, and a folder from itself."""
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Folder or module below ``universality.sae``; the package itself is ``__init__``."""
    names = module.removeprefix("universality.sae").strip(".").split(".")
    return names[0] if names[0] in RANK else "__init__"


def imports_of(path: Path, package: str = "universality.sae") -> set[str]:
    """Modules of the package that a file imports, wherever in the file; ``from a import b`` counts as ``a.b`` too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module == package else {node.module} | names
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.startswith(package)}
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_follow_the_arrows(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports_of(path):
        part = part_of(module)
        assert part == own or RANK[part] < RANK[own], f"{own} imports {module}"


def test_every_part_has_a_rank() -> None:
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == set(RANK)


def test_no_circles_between_files() -> None:
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in FILES}
    arrows = {}
    for name, path in modules.items():
        found = {module.removeprefix("universality.sae.") for module in imports_of(path)}
        arrows[name] = {other for other in modules if other != name and other in found}
    while free := [name for name, others in arrows.items() if not others]:
        arrows = {name: others - set(free) for name, others in arrows.items() if name not in free}
    assert not arrows, f"circles among {sorted(arrows)}"


def test_the_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("def f():\n    from universality.sae.compute.codes import Codes\n")
    (module, name) = sorted(imports_of(tmp_path / "base.py"))
    assert (module, part_of(name)) == ("universality.sae.compute.codes", "compute")
    assert RANK["compute"] > RANK["architectures"]
