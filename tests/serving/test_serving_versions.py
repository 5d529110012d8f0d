"""Which version is served: a complete and readable one that loads, is valid and opens no files."""

import dataclasses
import io
import json
import os
import re
import shutil
import stat
import threading
from itertools import pairwise
from pathlib import Path

import handmade
import pytest
import tensorflow as tf

from components.pusher.publish import write_manifest
from schema import export_contract
from serving import validation_process
from serving.access_log import Log
from serving.config import Config
from serving.errors import ModelError
from serving.model import load
from serving.model_validation import load_and_validate
from serving.validation_process import ValidationLimits, validate_in_subprocess
from serving.version_folder import Incomplete, is_whole, listing
from serving.versions import State, Versions, warnings_about_writers

pytestmark = pytest.mark.xdist_group("serving")
MANIFEST = "assets.extra/manifest.json"
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="session")
def ours(tmp_path_factory):
    return handmade.save(tmp_path_factory.mktemp("ours") / "1", users=["7", "8", "9"])


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    return handmade.save(tmp_path_factory.mktemp("foreign") / "1", ours=False)


@pytest.fixture
def model_dir(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def versions(model_dir):
    """Looks only when it is called; tries a version in a process of its own as the server would."""
    log = io.BytesIO()
    made = Versions(Config(model_dir, settle_seconds=-1), Log(log))
    made.text = lambda: made._log.flush() and log.getvalue().decode()  # type: ignore[attr-defined]
    yield made
    made.stop()


@pytest.fixture
def trials(monkeypatch):
    """Trials in this process, which cost less; yields the versions that were tried."""
    tried = []

    def here(path, version, *_):
        tried.append(version)
        load_and_validate(path, version).model.retire()

    monkeypatch.setattr("serving.versions.validate_in_subprocess", here)
    return tried


def copy(source, model_dir, number):
    return Path(shutil.copytree(source, model_dir / str(number)))


def served(versions):
    return versions.current.model.version if versions.ready else None


def status(versions, number):
    return next(one for one in versions.statuses() if one.version == number)


# -- half copies -------------------------------------------------------------------------------


def remove(name):
    def spoil(version):
        target = version / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def cut(name):
    def spoil(version):
        content = (version / name).read_bytes()
        (version / name).write_bytes(content[: len(content) // 2])

    return spoil


def damage(name):
    def spoil(version):
        content = bytearray((version / name).read_bytes())
        content[len(content) // 2] ^= 255
        (version / name).write_bytes(bytes(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("assets.extra"), "assets.extra/manifest.json is missing"),
        (remove(MANIFEST), "assets.extra/manifest.json is missing"),
        (cut(MANIFEST), "assets.extra/manifest.json is not whole"),
        (remove("variables"), "variables/variables.* is missing"),
        (cut(DATA), f"{DATA} has .* of .* bytes"),
        (damage(DATA), f"{DATA} is not as its manifest says"),
        (remove("assets.extra/users.json"), "assets.extra/users.json is missing"),
        (cut("saved_model.pb"), "saved_model.pb has .* of .* bytes"),
        (remove("saved_model.pb"), "saved_model.pb is missing"),
    ],
)
def test_a_half_copied_version_is_incomplete_for_a_reason(spoil, message, ours, model_dir):
    half = copy(ours, model_dir, 2)
    spoil(half)
    with pytest.raises(Incomplete, match=message):
        is_whole(half, listing(half), {})


def test_a_half_copied_version_is_not_served_until_the_rest_is_there(
    ours, model_dir, versions, trials
):
    copy(ours, model_dir, 1)
    half = copy(ours, model_dir, 2)
    cut(DATA)(half)
    versions.look()
    assert served(versions) == 1
    found = status(versions, 2)
    assert (found.state, found.code) == (State.START, "UNAVAILABLE")
    assert f"is not complete yet: {DATA} has" in found.message
    versions.look()
    assert versions.text().count("version 2 is not complete yet") == 1
    shutil.copytree(ours, half, dirs_exist_ok=True)
    versions.look()
    assert served(versions) == 2
    assert versions.current.users.count == 3


def test_without_its_graph_yet_a_copy_without_a_manifest_waits(ours, model_dir, versions):
    for spoil in (remove("saved_model.pb"), cut("saved_model.pb")):
        half = copy(ours, model_dir, 3)
        (half / MANIFEST).unlink()
        spoil(half)
        versions.look()
        assert not versions.ready
        assert "saved_model.pb is" in status(versions, 3).message
        shutil.rmtree(half)


def test_a_foreign_model_is_served_and_the_log_lists_what_it_lacks(
    foreign, model_dir, versions, trials
):
    copy(foreign, model_dir, 5)
    versions.look()
    assert served(versions) == 5
    (line,) = [json.loads(x) for x in versions.text().splitlines() if "serving version 5" in x]
    assert line["made_by"] == "another program, or an earlier release"
    assert {"a manifest", "a run record", "a list of users", "a list of movies"} <= set(
        line["lacks"]
    )
    assert len(versions.current.catalogue) == handmade.MOVIES


def test_a_version_that_changes_after_it_was_loaded_is_looked_at_again(
    ours, model_dir, versions, trials
):
    path = copy(ours, model_dir, 1)
    versions.look()
    before = versions.current
    versions.look()
    assert versions.current is before
    users = path / "assets.extra" / "users.json"
    users.write_text('{"ids": ["7"]}')
    for _ in range(2):
        versions.look()
        assert versions.current is before, "the manifest says otherwise"
        assert status(versions, 1).state is State.AVAILABLE
        assert "changed, and is not complete yet" in status(versions, 1).message
    write_manifest(path)
    versions.look()
    assert versions.current is not before
    assert versions.current.users.count == 1
    assert [(one.version, one.state) for one in versions.statuses()] == [(1, State.AVAILABLE)]


def test_a_damaged_graph_is_not_a_temporary_failure(foreign, model_dir):
    broken = copy(foreign, model_dir, 2)
    (broken / "saved_model.pb").write_bytes(b"no graph at all" * 100)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(broken, 2)
    assert caught.value.code == "DATA_LOSS"


@pytest.mark.parametrize("name", ["saved_model.pb", DATA])
def test_the_reason_of_a_refusal_is_whole_and_has_no_folder(foreign, model_dir, monkeypatch, name):
    broken = copy(foreign, model_dir, 2)
    (broken / name).unlink()
    monkeypatch.chdir(model_dir.parent)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(Path(model_dir.name) / "2", 2)
    assert f"{model_dir.name}/2" not in caught.value.message
    assert not caught.value.message.endswith(":")


def test_a_rollback_to_a_served_version_needs_no_validation(ours, model_dir, versions, trials):
    copy(ours, model_dir, 1)
    versions.look()
    copy(ours, model_dir, 2)
    versions.look()
    shutil.rmtree(model_dir / "2")
    versions.look()
    assert served(versions) == 1
    assert trials == [2]


def test_a_model_of_a_later_contract_is_refused_in_words(tmp_path):
    later = export_contract.VERSION + 1
    path = handmade.save(tmp_path / "1", version=later)
    with pytest.raises(ModelError, match=f"'movielens-recommender' {later}; .* update the server"):
        load(path, 1)


def test_a_file_is_hashed_once_per_size_and_time(ours, tmp_path, monkeypatch):
    path = copy(ours, tmp_path, 1)
    hashed = []
    from serving import version_folder

    sha256 = version_folder._sha256
    monkeypatch.setattr(
        version_folder, "_sha256", lambda file, size: hashed.append(file.name) or sha256(file, size)
    )
    hashes = {}
    for _ in range(3):
        assert is_whole(path, listing(path), hashes)
    assert len(hashed) == len(set(hashed)) == len(listing(path)) - 1
    os.utime(path / "saved_model.pb", (1, 1))
    assert is_whole(path, listing(path), hashes)
    assert hashed[-1] == "saved_model.pb"
    assert hashed.count("saved_model.pb") == 2


# -- what cannot be read -----------------------------------------------------------------------


def put_pipe(name):
    def spoil(version):
        (version / name).parent.mkdir(exist_ok=True)
        (version / name).unlink(missing_ok=True)
        os.mkfifo(version / name)

    return spoil


def put_link(name, target):
    def spoil(version):
        (version / name).parent.mkdir(exist_ok=True)
        (version / name).unlink(missing_ok=True)
        (version / name).symlink_to(target)

    return spoil


def make_huge(name):
    def spoil(version):
        with (version / name).open("wb") as stream:
            stream.truncate(1 << 40)  # Takes no space.

    return spoil


UNREADABLE = (
    (make_huge("saved_model.pb"), "more than"),
    (put_pipe("saved_model.pb"), "no ordinary file"),
    (put_pipe(DATA), "no ordinary file"),
    (put_pipe("assets.extra/run.json"), "no ordinary file"),
    (put_pipe("assets.extra/manifest.json"), "no ordinary file"),
    (put_link("loop", "loop"), "cannot be read: 'loop'"),
    (put_link("assets/round", ".."), "deep|cannot be read|files"),
    (put_link("variables/zero", "/dev/zero"), "no ordinary file"),
    (put_link("saved_model.pb", "/nowhere"), "cannot be read: 'saved_model.pb'"),
)


def test_folders_that_cannot_be_read_end_neither_the_search_nor_the_server(
    ours, foreign, model_dir, versions, trials
):
    copy(ours, model_dir, 1)
    for number, (spoil, _) in enumerate(UNREADABLE, 10):
        spoil(copy(foreign, model_dir, number))
    for _ in range(3):
        versions.look()
    assert served(versions) == 1
    for number, (_, message) in enumerate(UNREADABLE, 10):
        found = status(versions, number)
        assert found.state is State.END
        assert re.search(message, found.message), found.message
        assert str(model_dir) not in found.message
        assert versions.text().count(f"version {number} ") == 1


def test_a_version_that_was_unreadable_once_is_tried_again(
    ours, model_dir, versions, trials, monkeypatch
):
    copy(ours, model_dir, 1)
    copy(ours, model_dir, 2)
    failing = [True]
    from serving import version_folder

    read = version_folder.read_limited

    def sometimes(path, most):
        if failing[0] and "/2/" in str(path):
            raise version_folder.Unreadable("UNAVAILABLE", "cannot be read: Input/output error")
        return read(path, most)

    monkeypatch.setattr(version_folder, "read_limited", sometimes)
    clock = [100.0]
    monkeypatch.setattr("serving.versions.time.monotonic", lambda: clock[0])
    versions.look()
    assert served(versions) == 1
    assert "it is tried again" in versions.text()
    failing[0] = False
    versions.look()
    assert served(versions) == 1, "not before its pause is over"
    clock[0] += 1.5
    versions.look()
    assert served(versions) == 2


def test_pauses_between_attempts_grow(foreign, model_dir, versions, monkeypatch):
    copy(foreign, model_dir, 1)
    clock, attempts = [0.0], []

    def fails(*_):
        attempts.append(clock[0])
        raise ModelError("UNAVAILABLE", "cannot be tried")

    monkeypatch.setattr("serving.versions.validate_in_subprocess", fails)
    monkeypatch.setattr("serving.versions.time.monotonic", lambda: clock[0])
    for _ in range(4000):
        versions.look()
        clock[0] += 0.5
    pauses = [later - former for former, later in pairwise(attempts)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == 300
    assert versions.text().count("cannot be tried") == 1


def test_a_number_beyond_int64_is_ignored_in_words(ours, model_dir, versions):
    copy(ours, model_dir, 1)
    copy(ours, model_dir, 2**63)
    for _ in range(3):
        versions.look()
    assert served(versions) == 1
    assert versions.text().count(f"{2**63} is ignored") == 1


def test_a_directory_that_others_may_write_in_is_warned_of(model_dir):
    model_dir.chmod(0o755)
    assert warnings_about_writers(model_dir) == []
    (model_dir / "3").mkdir()
    (model_dir / "3").chmod(0o777)
    model_dir.chmod(0o775)
    whole, version = warnings_about_writers(model_dir)
    assert "group" in whole
    assert "everybody may write in" in version
    assert stat.S_IMODE(model_dir.stat().st_mode) == 0o775


# -- trials ------------------------------------------------------------------------------------


def some(user_id, amount):
    """Adds an amount for users whose id ends with 7."""
    hit = tf.strings.regex_full_match(user_id, ".*7")
    return tf.where(hit, tf.constant(amount), 0.0)


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_found_for_users_anywhere_in_the_list(amount, tmp_path):
    users = [f"{number}" for number in range(1000, 1090)]
    path = handmade.save(tmp_path / "1", lambda user_id: some(user_id, amount), users=users)
    with pytest.raises(ModelError, match="NaN or infinity"):
        load_and_validate(path, 1)


def for_ever(user_id):
    last = tf.while_loop(lambda number: number >= 0.0, lambda number: (number + 0.0,), [0.0])
    return tf.zeros(tf.shape(user_id)) + last[0]


@pytest.mark.parametrize("ours_too", [True, False])
def test_a_graph_that_loops_is_given_up_and_an_older_version_served(
    ours_too, ours, model_dir, tmp_path, versions
):
    limits = ValidationLimits(seconds=4)
    versions._config = dataclasses.replace(versions._config, validation=limits)
    copy(ours, model_dir, 1)
    versions.look()
    handmade.save(model_dir / "2", for_ever, ours=ours_too)
    versions.look()
    assert served(versions) == 1
    assert status(versions, 2).code == "DEADLINE_EXCEEDED"


def test_validation_has_a_memory_limit(foreign):
    with pytest.raises(ModelError, match="takes more than 1 MiB"):
        validate_in_subprocess(foreign, 1, 0, limits=ValidationLimits(memory_bytes=1 << 20))
    stop = threading.Event()
    stop.set()
    with pytest.raises(ModelError, match="the server stops"):
        validate_in_subprocess(foreign, 1, 0, stop=stop)


def test_validation_in_a_process_of_its_own_reports_the_reason(foreign, tmp_path):
    validate_in_subprocess(foreign, 1, 0)
    broken = copy(foreign, tmp_path, 2)
    (broken / DATA).write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        validate_in_subprocess(broken, 2, 0)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["SERVING_TOKEN", "github_token", "AWS_SECRET_ACCESS_KEY", "API_KEY", "PGPASSWORD",
     "GOOGLE_APPLICATION_CREDENTIALS", "DATABASE_URL", "SENTRY_DSN"],
)  # fmt: skip
def test_validation_gets_no_secrets(name, monkeypatch):
    monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    given = validation_process._environment()
    assert "hunter2" not in given.values()
    assert given["LD_LIBRARY_PATH"] == "/opt/lib"


# -- what a graph may do -----------------------------------------------------------------------


class Reads(handmade.Handmade):
    """Titles come from a file of the server."""

    def recommend(self, user_id, k, **rest):
        answer = super().recommend(user_id, k, **rest)
        return {**answer, "movie_title": tf.fill(tf.shape(answer["movie_id"]), self.text())}

    def text(self):
        return tf.io.read_file("/etc/hostname")


class Nested(Reads):
    def text(self):
        inner = tf.function(lambda: tf.io.read_file("/etc/hostname"))
        return tf.cond(tf.timestamp() > 0.0, inner, lambda: "")


class Writes(Reads):
    def text(self):
        with tf.control_dependencies([tf.io.write_file("/tmp/written-by-a-model", "x")]):
            return tf.constant("")


class Lists(Reads):
    def text(self):
        return tf.strings.reduce_join(tf.io.matching_files("/etc/*"))


class Restores(Reads):
    def text(self):
        return tf.raw_ops.RestoreV2(
            prefix="/tmp/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string]
        )[0]


class Prints(Reads):
    def text(self):
        with tf.control_dependencies([tf.print("x", output_stream="file:///tmp/printed")]):
            return tf.constant("")


class Calls(Reads):
    def text(self):
        return tf.ensure_shape(tf.py_function(lambda: "x", [], tf.string), [])


class Data(Reads):
    def text(self):
        return next(iter(tf.data.TextLineDataset("/etc/hostname").take(1)))


@pytest.mark.parametrize("kind", [Reads, Nested, Writes, Lists, Restores, Prints, Calls, Data])
def test_a_graph_that_works_with_files_is_refused(kind, tmp_path):
    path = handmade.save(tmp_path / "1", module=kind())
    with pytest.raises(ModelError, match="is refused: its graph has the operation") as caught:
        load(path, 1)
    assert caught.value.code == "PERMISSION_DENIED"


class Vocabulary(handmade.Handmade):
    def __init__(self, file):
        super().__init__()
        self.file = file
        initializer = tf.lookup.TextFileInitializer(
            file, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        )  # fmt: skip
        self.words = tf.lookup.StaticHashTable(initializer, "")

    def recommend(self, user_id, k, **rest):
        answer = super().recommend(user_id, k, **rest)
        zeros = tf.zeros(tf.shape(answer["movie_id"]), tf.int64)
        return {**answer, "movie_title": self.words.lookup(zeros)}


def test_a_table_read_from_an_asset_is_let_through(tmp_path):
    (tmp_path / "words").write_text("Casablanca\n")
    path = handmade.save(tmp_path / "1", module=Vocabulary(str(tmp_path / "words")))
    (tmp_path / "words").unlink()
    made = load_and_validate(path, 1)
    assert next(iter(made.catalogue.movies.values())).title == "Casablanca"
    made.model.retire()


@pytest.mark.parametrize("name", ["../../words", "/etc/hostname"])
def test_an_asset_outside_of_the_version_is_refused(name, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    (tmp_path / "words").write_text("Casablanca\n")
    path = handmade.save(tmp_path / "1", module=Vocabulary(str(tmp_path / "words")))
    document = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    document.meta_graphs[0].asset_file_def[0].filename = name
    (path / "saved_model.pb").write_bytes(document.SerializeToString())
    with pytest.raises(ModelError, match="outside of its folder"):
        load(path, 1)


def test_a_table_read_from_a_file_that_is_not_an_asset_is_refused(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    (tmp_path / "words").write_text("Casablanca\n")
    path = handmade.save(tmp_path / "1", module=Vocabulary(str(tmp_path / "words")))
    document = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = document.meta_graphs[0]
    asset = graph.asset_file_def[0].tensor_info.name.split(":")[0]
    for node in graph.graph_def.node:
        if node.name == asset:
            node.attr["value"].tensor.string_val[:] = [b"/etc/hostname"]
    del graph.asset_file_def[:]
    (path / "saved_model.pb").write_bytes(document.SerializeToString())
    with pytest.raises(ModelError, match="none of the model's assets"):
        load(path, 1)


@pytest.mark.parametrize("place", ["the asset's path", "what is computed from it"])
def test_no_request_can_name_the_file_that_a_table_is_read_from(place, tmp_path):
    (tmp_path / "words").write_text("Casablanca\n")
    path = handmade.save(tmp_path / "1", module=Vocabulary(str(tmp_path / "words")))
    document = saved_model_of(path)
    graph = document.meta_graphs[0]
    asset = graph.asset_file_def[0].tensor_info.name
    if place != "the asset's path":
        node = graph.graph_def.node.add(name="between", op="Identity", input=[asset])
        node.attr["T"].type = tf.string.as_datatype_enum
        asset = "between:0"
    graph.signature_def["rank"].inputs["movie_ids"].name = asset
    (path / "saved_model.pb").write_bytes(document.SerializeToString())
    with pytest.raises(ModelError, match="an input that is no placeholder") as caught:
        load(path, 1)
    assert caught.value.code == "PERMISSION_DENIED"


def add_constant(nodes, name, value, kind):
    node = nodes.add(name=name, op="Const")
    node.attr["dtype"].type = kind.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=kind))


def add_save(nodes, prefix):
    """Adds an operation that writes a checkpoint, which has the bytes that it is given."""
    for name, value, kind in (
        ("prefix", prefix, tf.string), ("names", ["x"], tf.string), ("slices", [""], tf.string),
        ("bytes", list(b"ssh-ed25519"), tf.uint8),
    ):  # fmt: skip
        add_constant(nodes, name, value, kind)
    node = nodes.add(name="save", op="SaveV2", input=["prefix", "names", "slices", "bytes"])
    node.attr["dtypes"].list.type.append(tf.uint8.as_datatype_enum)


def saves_when_it_is_restored(graph, restore, place):
    add_save(graph.graph_def.node, place)
    restore.input.append("^save")


def saves_in_a_function_that_is_called_when_it_is_restored(graph, restore, place):
    [body] = [function for function in graph.graph_def.library.function
              if function.signature.name == restore.attr["f"].func.name]  # fmt: skip
    add_save(body.node_def, place)
    for node in body.node_def:
        if node.op == "SaveV2":
            node.input[:] = [f"{name}:output:0" for name in node.input]
    body.control_ret["save"] = "save"


def restores_another_checkpoint(graph, restore, place):
    add_constant(graph.graph_def.node, "another", place, tf.string)
    restore.input[0] = "another"


@pytest.mark.parametrize(
    "change",
    [
        saves_when_it_is_restored,
        saves_in_a_function_that_is_called_when_it_is_restored,
        restores_another_checkpoint,
    ],
)
def test_restoring_variables_neither_writes_nor_reads_another_checkpoint(change, foreign, tmp_path):
    path = copy(foreign, tmp_path, 1)
    document = saved_model_of(path)
    graph = document.meta_graphs[0]
    [restore] = [
        node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name
    ]
    change(graph, restore, str(tmp_path / "place"))
    (path / "saved_model.pb").write_bytes(document.SerializeToString())
    with pytest.raises(ModelError, match="is refused: its graph has the operation"):
        load(path, 1)
    assert not list(tmp_path.glob("place*"))


def let_it_stand_in(graph, name):
    graph.graph_def.library.function[-1].attr["api_implements"].s = b"recommend"


def let_it_be_a_gradient(graph, name):
    graph.graph_def.library.gradient.add(function_name="recommend", gradient_func=name)


@pytest.mark.parametrize("change", [let_it_stand_in, let_it_be_a_gradient])
def test_functions_that_stand_in_for_others_may_not_save(change, foreign, tmp_path):
    from serving.graph_check import check_graph

    graph = saved_model_of(foreign).meta_graphs[0]
    function = graph.graph_def.library.function.add()
    function.signature.name = "spare"
    add_save(function.node_def, str(tmp_path / "place"))
    check_graph(graph)
    change(graph, "spare")
    with pytest.raises(ModelError, match="is refused: its graph has the operation 'SaveV2'"):
        check_graph(graph)


def saved_model_of(path):
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())


def test_a_keras_model_passes_the_check_of_its_graph(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    from serving.graph_check import check_graph

    words = tf.keras.layers.StringLookup(vocabulary=["a", "b"])
    model = tf.keras.Sequential(
        [words, tf.keras.layers.Embedding(4, 2), tf.keras.layers.Dropout(0.5),
         tf.keras.layers.LSTM(2), tf.keras.layers.Dense(1)]
    )  # fmt: skip
    model(tf.constant([["a", "b"]]))
    model.compile("adam", "mse")
    model.save(tmp_path / "keras", save_format="tf")
    document = saved_model_pb2.SavedModel.FromString(
        (tmp_path / "keras" / "saved_model.pb").read_bytes()
    )
    check_graph(document.meta_graphs[0])
