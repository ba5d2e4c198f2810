"""A planted run and its pages, as in ``tests/report``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "report"))  # its modules are importable in any import mode
from planted_fixtures import explored, explored_effects, labelled, labelled_page, planted  # noqa: F401 - pytest finds them here
