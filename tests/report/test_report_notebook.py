"""The notebook of TFDV's and TFMA's own views runs on what a run leaves, and holds no outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tfx_views.ipynb"


def test_notebook_is_committed_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.exhaustive
def test_notebook_shows_the_native_views_of_a_run(run_output, monkeypatch):
    monkeypatch.setenv("OUTPUT_DIR", str(run_output))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()
    shown = [
        "".join(str(output.get("data", output.get("text", ""))) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    *_, statistics, schema, anomalies, gender, age, verdict = shown
    assert "facets-overview" in statistics
    assert "user_gender" in schema
    assert "No anomalies found" in anomalies
    assert "SlicingMetricsViewer" in gender
    assert "SlicingMetricsViewer" in age
    assert "rmse" in verdict or "r_squared" in verdict
