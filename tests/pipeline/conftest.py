"""Makes run_commands and foreign_saes importable, whatever the import mode."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
