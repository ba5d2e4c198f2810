"""Make the writers of other tools' files importable under any import mode of pytest."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
