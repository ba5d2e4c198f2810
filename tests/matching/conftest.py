"""Makes the planted stores of tests/similarity and the helpers of this folder importable in any import mode."""

import sys
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1] / "similarity"), str(Path(__file__).parent)])
