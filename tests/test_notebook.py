"""The notebook's cells run one after the other, and say what its kept outputs say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs" / "two_streams.ipynb"


def cells() -> list[dict]:
    return [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]


def test_every_cell_was_run_and_drew_what_it_draws():
    for cell in cells():
        kinds = [kind for output in cell["outputs"] for kind in output.get("data", {})]
        assert cell["execution_count"] and cell["outputs"]
        if "plt.show()" in cell["source"] or "confusion_figure(matrix" in cell["source"]:
            assert "image/png" in kinds
        assert not any(output["output_type"] == "error" for output in cell["outputs"])


@pytest.mark.slow
def test_the_cells_run_in_order_in_a_fresh_process(tmp_path):
    code = "import matplotlib\nmatplotlib.use('Agg')\n"
    code += "\n".join("".join(cell["source"]) for cell in cells())
    (tmp_path / "cells.py").write_text(code.replace("epochs=6", "epochs=1"))
    done = subprocess.run(
        [sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "joint - bone: " in done.stdout and "both: " in done.stdout
