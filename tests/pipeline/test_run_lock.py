import subprocess
import sys
from pathlib import Path

import pytest

from universality.errors import UniversalityError
from universality.pipeline.runner import alone_in

HOLD = """
import sys, time
from pathlib import Path
from universality.pipeline.runner import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UniversalityError, match="another process is at work in this folder"), alone_in(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with alone_in(tmp_path), pytest.raises(UniversalityError, match="take another --out"), alone_in(tmp_path):
        pass
