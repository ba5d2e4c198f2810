"""Makes run_commands, foreign_saes and planted_run importable, whatever the import mode."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "report")]
