"""Execute the notebooks of the documentation, and save them with their outputs.

    python tests/docs/notebooks.py docs/notebooks/*.ipynb

runs each notebook in its own folder, as Jupyter does, and saves what it shows (`make notebooks`).
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(notebook: NotebookNode, folder: Path, parameters: Mapping[str, Any] | None = None) -> NotebookNode:
    """Execute a copy of a notebook in a folder, with this interpreter as its kernel.

    Parameters
    ----------
    notebook
        The notebook.
    folder
        Working directory of the kernel.
    parameters
        Values that replace those of the cell with the tag ``parameters``.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source += "".join(f"\n{name} = {value!r}" for name, value in (parameters or {}).items())
    with tempfile.TemporaryDirectory() as kernels:
        write_kernel_spec(Path(kernels) / "here")  # the user's kernel may be that of another environment
        specs = KernelSpecManager(kernel_dirs=[kernels], ensure_native_kernel=False)
        manager = AsyncKernelManager(
            kernel_name="here", kernel_spec_manager=specs, transport="ipc", ip=f"{kernels}/socket"
        )
        resources = {"metadata": {"path": str(folder)}}
        client = NotebookClient(copy, km=manager, resources=resources, record_timing=False, store_widget_state=False)
        client.execute(cleanup_kc=True, env=os.environ | {"IPYTHONDIR": kernels})  # no settings of the user
    return copy


def tidied(notebook: NotebookNode) -> NotebookNode:
    """Return a copy that is the same for each machine: plain metadata, numbered cells, no finished progress bars."""
    copy = nbformat.from_dict(notebook)
    copy.metadata = nbformat.from_dict(METADATA)
    copy.nbformat, copy.nbformat_minor = 4, 5
    for number, cell in enumerate(copy.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in cell.outputs if WIDGET not in output.get("data", ())])
            for output in cell.outputs:
                if "image/png" in output.get("data", ()):
                    output.data["image/png"] = _smaller(output.data["image/png"])
    return copy


def _smaller(png: str) -> str:
    """Reduce a picture in base64 to 128 colours, which halves its size; leave one that has a palette already."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    if image.mode == "P":
        return png
    content = io.BytesIO()
    image.convert("RGB").quantize(128).save(content, "png", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join streams of one name that a progress bar stood between."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        done = tidied(execute(nbformat.read(path, as_version=4), path.parent))
        nbformat.validate(done)
        path.write_text(nbformat.writes(done) + "\n", encoding="utf-8")
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
