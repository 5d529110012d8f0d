"""RatingsGen as TFX runs it: when it is cached, and what a failure leaves."""

import pytest
from example_artifacts import BEAM_ARGS, options, write_raw
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.example_gen.component import RatingsGen
from sources.errors import InputError

pytestmark = pytest.mark.xdist_group("example_gen")

SAME = options()


def run(folder, data):
    """Runs a pipeline of RatingsGen alone and returns how many artifacts there are now."""
    store = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="ratings",
            pipeline_root=str(folder / "root"),
            components=[RatingsGen(data, SAME)],
            enable_cache=True,
            metadata_connection_config=store,
            beam_pipeline_args=list(BEAM_ARGS),
        )
    )
    return len(list((folder / "root").rglob("wrangling.json")))


def test_it_is_cached_until_any_of_the_raw_files_changes(tmp_path):
    data = write_raw(tmp_path / "raw")
    assert run(tmp_path, data) == 1
    assert run(tmp_path, data) == 1
    write_raw(tmp_path / "raw", occupations=("student", "writer", "astronaut"))
    assert run(tmp_path, data) == 2


def test_an_input_error_comes_out_of_tfx_as_such_and_leaves_no_artifact(tmp_path):
    bad = [f"1\t1\t{stars}\t880000000" for stars in (5, 9, 9)]
    data = write_raw(tmp_path / "raw", ratings=bad)
    with pytest.raises(InputError, match=r"u\.data, row 2: rating out of range"):
        run(tmp_path, data)
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
    # Neither is the failure remembered: corrected data is read.
    write_raw(tmp_path / "raw")
    assert run(tmp_path, data) == 1
