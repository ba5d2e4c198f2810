"""A missing library of an extra is named with its command, and pyproject.toml declares what the messages promise."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from universality.errors import MissingExtraError, UniversalityError
from universality.extras import EXTRAS, check_installed, import_name, naming_extra

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
OPTIONAL = {library for extra in EXTRAS for library in extra.libraries} | {"transformers", "markupsafe"}


def declared(requirements: list[str]) -> set[str]:
    """Names of distributions, without versions and without extras of this package."""
    return {re.split(r"[><=\[ ]", requirement)[0] for requirement in requirements} - {"universality"}


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra.name)
def test_the_project_declares_the_libraries_of_an_extra(extra: object) -> None:
    assert declared(PROJECT["optional-dependencies"][extra.name]) == set(extra.libraries.values())


def test_all_joins_every_extra_and_the_plain_installation_holds_none_of_their_libraries() -> None:
    assert PROJECT["optional-dependencies"]["all"] == [f"universality[{','.join(e.name for e in EXTRAS)}]"]
    assert declared(PROJECT["dependencies"]).isdisjoint(n for extra in EXTRAS for n in extra.libraries.values())


def test_all_that_is_missing_is_named_with_one_command() -> None:
    check_installed("a study", ["torch", "jinja2"])  # both are here
    with pytest.MonkeyPatch.context() as patch:
        for library in ("torch", "transformer_lens", "jinja2"):
            patch.setitem(sys.modules, library, None)
        with pytest.raises(MissingExtraError) as error:
            check_installed("a study", ["torch", "transformer_lens", "torch", "numpy", "jinja2"])
    assert str(error.value) == (
        "a study needs torch, transformer_lens, jinja2, which are not installed; run "
        "pip install 'universality[train,report]', or in a clone pip install '.[train,report]'"
    )
    assert isinstance(error.value, UniversalityError)
    assert isinstance(error.value, ImportError)


def test_a_module_inside_a_missing_library_counts_and_others_pass() -> None:
    expected = r"a model needs torch, which is not installed; .*\[train\]"
    with pytest.raises(MissingExtraError, match=expected), naming_extra("a model"):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    with pytest.raises(ModuleNotFoundError, match="mine"), naming_extra("a model"):
        raise ModuleNotFoundError("No module named 'mine'", name="mine")


def test_a_name_that_a_package_lacks_is_an_attribute_error() -> None:
    assert import_name("math", "sqrt", {"sqrt": "math"})(4) == 2
    with pytest.raises(AttributeError, match="module 'math' has no attribute 'cube'"):
        import_name("math", "cube", {"sqrt": "math"})


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCK:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


BORDERS = {
    "from universality import SAE": "train",
    "from universality.activations import ModelSite": "train",
    "from universality.sae import SAETrainer": "train",
    "from universality.models.language_model import load_model": "train",
    "from universality.features.collection import collect": "train",
    "from universality.corpus import *; load_tokenizer('starter')": "hub",
    "from universality.hub import *; list_files(Repository('a/b'))": "hub",
    "from universality.report import write_report": "report",
    "from universality.report.figures import concept_dots": "report",
}


def test_every_border_says_which_extra() -> None:
    tried = """
for line in LINES:
    try:
        exec(line)
    except ImportError as error:
        print(error)
"""
    script = f"BLOCK = {sorted(OPTIONAL)!r}\nLINES = {list(BORDERS)!r}\n{BLOCKED}{tried}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert [re.findall(r"pip install 'universality\[(\w+)\]'", line) for line in said] == [
        [extra] for extra in BORDERS.values()
    ]
