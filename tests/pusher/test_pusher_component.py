import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import channel, standard_artifacts

from components.pusher.component import Pusher, push_options
from components.pusher.kind import Kind
from components.pusher.publish import tree_digest

EXPORT = """
    import sys
    import tensorflow as tf

    class Half(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(0.5)
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0]), -1.0
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
        def serve(self, words):
            return {"score": self.weight * self.table.lookup(words)}

    half = Half()
    tf.saved_model.save(half, sys.argv[1], signatures={"serving_default": half.serve})
"""


def export(path):
    """Exports the same small model in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EXPORT), str(path)],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory):
    uri = tmp_path_factory.mktemp("model")
    export(uri / "Format-Serving")
    return uri


def run_pusher(model_uri, destination, blessed=None, **properties):
    def artifact(kind, uri=""):
        made = kind()
        made.uri = str(uri)
        return made

    inputs = {"model": artifact(standard_artifacts.Model, model_uri)}
    if blessed is not None:
        blessing = artifact(standard_artifacts.ModelBlessing)
        blessing.set_int_custom_property("blessed", blessed)
        inputs["model_blessing"] = blessing
    pushed_model = artifact(standard_artifacts.PushedModel)
    given = push_options(str(destination), **properties) | {"run_id": "a run"}
    Pusher.test_call(**inputs, pushed_model=pushed_model, **given)
    return pushed_model


def properties(pushed_model):
    return {
        "pushed": pushed_model.get_int_custom_property("pushed"),
        "reason": pushed_model.get_string_custom_property("reason"),
        "version": pushed_model.get_string_custom_property("pushed_version"),
        "destination": pushed_model.get_string_custom_property("pushed_destination"),
    }


def test_unblessed_model_is_not_pushed(model_uri, tmp_path):
    found = properties(run_pusher(model_uri, tmp_path / "serving", blessed=0))
    assert found == {"pushed": 0, "reason": "not_blessed", "version": "", "destination": ""}
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("blessed", [1, None])
def test_blessed_model_is_pushed_and_loads_as_it_was(blessed, model_uri, tmp_path):
    found = properties(run_pusher(model_uri, tmp_path / "serving", blessed))
    assert found["pushed"] == 1
    assert found["reason"] == "pushed"
    assert found["destination"] == str(tmp_path / "serving" / found["version"])
    loaded = tf.saved_model.load(found["destination"])
    scores = loaded.signatures["serving_default"](words=tf.constant(["b", "?"]))["score"]
    assert scores.numpy().tolist() == [1.0, -0.5]


def test_the_same_model_is_not_pushed_twice(model_uri, tmp_path):
    first = properties(run_pusher(model_uri, tmp_path / "serving", blessed=1))
    second = properties(run_pusher(model_uri, tmp_path / "serving", blessed=1))
    assert second == {**first, "pushed": 0, "reason": "up_to_date"}


def test_the_same_weights_exported_by_another_process_count_as_the_same_model(model_uri, tmp_path):
    export(tmp_path / "again")
    assert tree_digest(tmp_path / "again") == tree_digest(model_uri / "Format-Serving")


def test_the_component_takes_its_blessing_as_an_option():
    model = channel.Channel(type=standard_artifacts.Model)
    blessing = channel.Channel(type=standard_artifacts.ModelBlessing)
    bare = Pusher(model=model, **push_options("serving"))
    guarded = Pusher(model=model, model_blessing=blessing, **push_options("serving"))
    assert set(bare.inputs) == {"model"}
    assert set(guarded.inputs) == {"model", "model_blessing"}
    assert guarded.outputs["pushed_model"].type is standard_artifacts.PushedModel
    given = {name for name, value in guarded.exec_properties.items() if value is not None}
    assert given == {"serving_model_dir", "run_id"}


def test_a_model_is_not_pushed_if_that_is_not_wanted(model_uri, tmp_path):
    found = properties(run_pusher(model_uri, tmp_path / "serving", blessed=1, no_push=True))
    assert (found["reason"], found["version"]) == ("no_push", "")
    assert not (tmp_path / "serving").exists()


def test_the_settings_of_the_user_are_in_the_run_record(model_uri, tmp_path):
    kind = Kind("ml-100k", "random", 42)
    given = {"trainer.epochs": 3, "model.rating_dropout": [0.1, 0.2, 0.2]}
    pushed = run_pusher(model_uri, tmp_path / "serving", blessed=1, kind=kind, settings=given)
    folder = Path(properties(pushed)["destination"])
    record = json.loads((folder / "assets.extra" / "run.json").read_text())
    assert (record["run"], record["settings"]) == ("a run", given)


def test_a_model_of_another_kind_is_not_pushed_and_says_why(model_uri, tmp_path):
    real, sample = Kind("ml-100k", "random", 42), Kind("sample", "random", 42)
    first = properties(run_pusher(model_uri, tmp_path / "serving", blessed=1, kind=real))
    pushed = run_pusher(model_uri, tmp_path / "serving", blessed=1, kind=sample, replace=True)
    assert properties(pushed) | {"reason": ""} == {
        **dict.fromkeys(first, ""),
        "pushed": 0,
    }
    assert properties(pushed)["reason"] == "other_kind"
    assert real.describe() in pushed.get_string_custom_property("explanation")


def test_no_runner_ever_takes_the_pusher_from_the_cache(model_uri, tmp_path):
    """Under TFX's own runner a version that was deleted since is pushed again."""

    def run():
        model = Importer(source_uri=str(model_uri), artifact_type=standard_artifacts.Model).with_id(
            "Model"
        )
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="push",
                pipeline_root=str(tmp_path / "root"),
                components=[
                    model,
                    Pusher(model=model.outputs["result"], **push_options(str(tmp_path / "served"))),
                ],
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    str(tmp_path / "metadata.sqlite")
                ),
            )
        )
        return [path for path in (tmp_path / "served").iterdir() if path.name.isdecimal()]

    (version,) = run()
    shutil.rmtree(version)
    assert len(run()) == 1


def test_publishing_needs_only_the_standard_library():
    code = (
        "import sys; import components.pusher.publish;"
        "print([m for m in sys.modules if m.split('.')[0] in ('tfx', 'tensorflow', 'numpy')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
