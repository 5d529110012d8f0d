"""The exported model away from home: another place, another environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

pytestmark = pytest.mark.xdist_group("trainer")

ROOT = Path(__file__).resolve().parents[3]
TENSORFLOW = "tensorflow==2.15.1"

# Errors of pip and uv when no index answers, as opposed to one that lacks a package.
UNREACHABLE = re.compile(
    r"Failed to establish a new connection|name resolution|NewConnectionError|ConnectTimeout|"
    r"Connection refused|ReadTimeout|Network is unreachable|dns error|error sending request|"
    r"ProxyError|Could not connect"
)

# Nothing but TensorFlow: what a server that never saw the project would run.
CLIENT = """
import json, sys
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
given = json.loads(sys.argv[2])
users = {
    "user_id": tf.constant(given["user_id"]),
    "user_gender": tf.constant(["", "Female"]),
    "raw_user_age": tf.constant([0.0, 31.0]),
    "user_occupation_text": tf.constant(["", "writer"]),
    "user_zip_code": tf.constant(["", "94110"]),
    "timestamp": tf.constant([given["time"]] * 2, tf.int64),
    "recent_movie_ids": tf.constant([[""], [given["movies"][0]]]),
    "recent_timestamps": tf.constant([[0], [0]], tf.int64),
    "recent_ratings": tf.constant([[0.0], [0.0]]),
}
recommended = model.signatures["recommend"](
    **users,
    k=tf.constant(5),
    exclude_movie_ids=tf.constant([given["exclude"]] * 2),
    exclude_seen=tf.constant(True),
)
ranked = model.signatures["rank"](**users, movie_ids=tf.constant([given["movies"]] * 2))
example = tf.train.Example()
example.features.feature["user_id"].bytes_list.value.append(given["user_id"][0].encode())
example.features.feature["movie_id"].bytes_list.value.append(given["movies"][0].encode())
example.features.feature["timestamp"].int64_list.value.append(given["time"])
serialized = tf.constant([example.SerializeToString()])
predicted = model.signatures["serving_default"](serialized)
print("ANSWER " + json.dumps({
    "scores": recommended["score"].numpy().tolist(),
    "titles": [title.decode() for title in recommended["movie_title"].numpy().ravel().tolist()],
    "stars": ranked["predicted_rating"].numpy().tolist(),
    "predicted": predicted["predicted_rating"].numpy().tolist(),
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "tensorflow": tf.__version__,
}))
"""


@pytest.fixture(scope="module")
def question(trained):
    ids = [movie.decode() for movie in trained.catalogue.ids.tolist()]
    return {
        "user_id": [trained.users.ids[0].decode(), "nobody"],
        "time": 4_000_000_000,
        "exclude": ids[:3],
        "movies": [ids[4], "no-such-movie"],
    }


def expected_answer(model, question):
    profiles = [
        {"user_id": question["user_id"][0]},
        {
            "user_id": question["user_id"][1],
            "user_gender": "Female",
            "raw_user_age": 31.0,
            "user_occupation_text": "writer",
            "user_zip_code": "94110",
        },
    ]
    time = question["time"]
    recent = [[], [(0, question["movies"][0])]]
    recommended = fixtures.recommend(
        model, *profiles, k=5, exclude=[question["exclude"]] * 2, timestamp=time, recent=recent
    )
    ranked = fixtures.rank(
        model, *profiles, movies=[question["movies"]] * 2, timestamp=time, recent=recent
    )
    example = fixtures.to_example(
        user_id=question["user_id"][0], movie_id=question["movies"][0], timestamp=time
    )
    predicted = model.signatures["serving_default"](tf.constant([example.SerializeToString()]))
    return {
        "scores": recommended["score"],
        "titles": [title.decode() for title in recommended["movie_title"].ravel().tolist()],
        "stars": ranked["predicted_rating"],
        "predicted": predicted["predicted_rating"].numpy(),
    }


def assert_same_answer(found, expected):
    assert found["titles"] == expected["titles"]
    for name in ("scores", "stars", "predicted"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_a_model_that_was_moved_answers_as_before(trained, served, question, tmp_path):
    first = fixtures.copy_of(trained.served_path, tmp_path / "first")
    second = fixtures.copy_of(first, tmp_path / "elsewhere" / "1")
    shutil.rmtree(first)
    moved = tf.saved_model.load(str(second))
    assert_same_answer(expected_answer(moved, question), expected_answer(served, question))


def test_no_path_of_the_training_machine_is_in_the_model(trained, world):
    homes = [str(world.folder), str(trained.served_path), str(ROOT), world.transform_graph]
    for path in trained.served_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            held = [home for home in homes if home.encode() in content]
            assert not held, f"{path.relative_to(trained.served_path)} names {held}"


def test_every_vocabulary_is_among_the_assets(trained):
    graph = Path(trained.transform.transform_savedmodel_dir)
    vocabularies = {path.name: path.read_bytes() for path in (graph / "assets").iterdir()}
    assert vocabularies
    for name, content in vocabularies.items():
        assert (trained.served_path / "assets" / name).read_bytes() == content


# --- an environment of its own


def constraints(path):
    """The lock's pins without hashes and extras, which constraints may not have."""
    text = (ROOT / "requirements" / "runtime.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(==[^\s;\\]+)", text, flags=re.MULTILINE)
    path.write_text("".join(f"{name}{version}\n" for name, version in pins))
    assert f"{TENSORFLOW}\n" in path.read_text()
    return path


def clean_environment():
    """This process's variables without those that would let it find the project."""
    return {name: held for name, held in os.environ.items() if not name.startswith("PYTHON")}


def install(venv, pins):
    uv = shutil.which("uv")
    bare = ["--without-pip"] if uv else []
    subprocess.run([sys.executable, "-m", "venv", *bare, venv], check=True)
    python = venv / "bin" / "python"
    installer = (
        [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    )
    command = [*installer, "--quiet", "--constraint", pins, TENSORFLOW]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.exhaustive
def test_plain_tensorflow_in_a_fresh_environment_answers_the_same(
    trained, served, question, tmp_path
):
    copy = fixtures.copy_of(trained.served_path, tmp_path / "model")
    try:
        python = install(tmp_path / "venv", constraints(tmp_path / "constraints.txt"))
        done = subprocess.run(
            [python, "-c", CLIENT, copy, json.dumps(question)],
            capture_output=True,
            text=True,
            cwd="/",
            env=clean_environment(),
        )
    finally:
        # Well over a gigabyte, which pytest would keep for three runs.
        shutil.rmtree(tmp_path / "venv", ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER "))
    found = json.loads(line.removeprefix("ANSWER "))
    assert found["tensorflow"] == "2.15.1"
    ours = {"trainer", "transform", "schema", "components", "pipeline", "sources"}
    others = {"tensorflow_transform", "tensorflow_recommenders", "tfx", "apache_beam"}
    assert not (ours | others) & set(found["modules"])
    assert_same_answer(found, expected_answer(served, question))
