"""Bad input, from the command line: a short message, the right exit code, nothing broken.

Every run is given an output directory with a pushed version, which must stay as it is.
"""

import http.server
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from pipeline_fixtures import COMPONENTS, Project, versions

from sources.sample import MARKER_FILE, METADATA_FOLDER, generate_sample

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline_bad_input")]

FILES = ("u.data", "u.user", "u.item", "u.genre", "u.occupation")
VERSION = "1700000000"
MOST_LINES = 6


@pytest.fixture(scope="module")
def good(project):
    """Raw files and metadata that the pipeline takes."""
    folder = project.scratch / "good"
    generate_sample(folder, ratings=1000, seed=1)
    (folder / MARKER_FILE).unlink()  # as if somebody had collected it
    return folder


@pytest.fixture
def raw(good, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(good, tmp_path / "raw"))


@pytest.fixture
def served(tmp_path):
    """An output directory in which a version was pushed before."""
    version = tmp_path / "output" / "serving_model" / VERSION
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"a model")
    (version / "variables" / "variables.index").write_bytes(b"its weights")
    return tmp_path / "output"


@pytest.fixture
def refused(project, served):
    """Runs, expects a refusal with these words, and returns what the run left."""

    def check(*arguments, code=2, words=(), **options):
        before = versions(served)
        result = project.run(*arguments, output=served, **options)
        assert_refused(result, code, words)
        assert result.versions == before
        return result

    return check


def assert_refused(result, code, words):
    printed = "\n".join(result.message)
    assert result.code == code, result.out + result.err
    for word in words:
        assert str(word) in printed
    assert 1 <= len(result.message) <= MOST_LINES, printed
    assert "Traceback" not in result.out + result.err
    if result.summary is not None:
        assert result.summary["status"] == ("anomalies" if code == 3 else "failed")
        assert result.summary["exit_code"] == code
        assert result.err == result.summary["error"] + "\n"


def rows(path):
    return path.read_text(encoding="latin-1").splitlines()


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="latin-1")


def replace_rows(path, change, count=1, start=20):
    """Replaces rows by what `change` makes of their columns."""
    separator = "\t" if path.name == "u.data" else "|"
    lines = rows(path)
    for row in range(start, start + count):
        lines[row] = separator.join(change(lines[row].split(separator)))
    write(path, lines)


# --- wrong use


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--epochs", "0"], "--epochs"),
        (["--seed", "-1"], "--seed"),
        (["--sample-ratings", "10"], "--sample-ratings"),
        (["--max-loss", "5"], "--max-loss"),
        (["--max-loss", "nan"], "--max-loss"),
        (["--max-loss", "some"], "some"),
        (["--dataset", "netflix"], "netflix"),
        (["--split", "sideways"], "sideways"),
        (["--epochs", "many"], "many"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_option_is_refused_by_name(project, tmp_path, arguments, word):
    result = project.run(*arguments, output=tmp_path / "output")
    assert result.code == 2
    assert word in result.err
    assert "Traceback" not in result.out + result.err
    assert not (tmp_path / "output").exists()


def test_data_dir_and_sample_contradict_each_other(refused, raw):
    refused("--dataset", "sample", "--data", raw, words=["--data", "sample"])


# --- files that are not what they should be: found before TensorFlow is loaded


def test_missing_data_directory_is_refused_before_anything_runs(project, served, tmp_path):
    """The real command, with the real start of the interpreter."""
    result = project.run_cold("--data", tmp_path / "nowhere", output=served)
    assert_refused(result, 2, [tmp_path / "nowhere", "--data", "what to do"])
    assert (result.log, result.summary) == ("", None)
    assert [path.name for path in served.iterdir()] == ["serving_model"]


def test_a_file_that_is_no_data_set_is_refused(refused, raw):
    (raw / "notes.txt").write_text("nothing")
    refused("--data", raw / "notes.txt", words=["notes.txt", "this is no table"])


def test_own_tables_without_an_event_are_refused(refused, tmp_path):
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "events.csv").write_text("user,item\n")
    refused("--data", tmp_path / "plays", words=["events.csv", "there are no events"])


def test_own_tables_that_no_split_can_be_made_of_leave_nothing_behind(project, tmp_path):
    rows = "".join(f"u{i},i{i % 7},{10**9 + i}\n" for i in range(200))
    (tmp_path / "events.csv").write_text("user,item,when\n" + rows)
    command = ["--data", tmp_path / "events.csv", "--split", "temporal"]
    result = project.run(*command, output=tmp_path / "output")
    assert_refused(result, 2, ["leaves no events for validation", "use --split random"])
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("variable", ["MOVIELENS_DIR", "MOVIES_METADATA_DIR"])
def test_variable_that_names_no_directory_is_refused(refused, raw, variable):
    arguments = () if variable == "MOVIELENS_DIR" else ("--data", raw)
    refused(*arguments, environment={variable: "/nowhere"}, words=[variable, "/nowhere"])


@pytest.mark.parametrize("file", FILES)
def test_missing_file_is_named(refused, raw, file):
    (raw / file).unlink()
    refused("--data", raw, words=[file, "missing"])


@pytest.mark.parametrize("file", [file for file in FILES if file != "u.occupation"])
def test_empty_file_is_named(refused, raw, file):
    (raw / file).write_bytes(b"")
    refused("--data", raw, words=[file, "empty"])


@pytest.mark.parametrize("file", FILES)
def test_binary_file_is_named(refused, raw, file):
    (raw / file).write_bytes(b"\x7fELF\x00\x01\x02\x00" * 100)
    refused("--data", raw, words=[file, "binary"])


@pytest.mark.parametrize("file", FILES)
def test_file_in_utf_16_is_named(refused, raw, file):
    (raw / file).write_bytes((raw / file).read_text(encoding="latin-1").encode("utf-16"))
    refused("--data", raw, words=[file, "encoding", "UTF-16"])


@pytest.mark.parametrize("file", ["u.data", "u.user", "u.item", "u.genre"])
def test_file_whose_last_row_is_cut_off_is_named(refused, raw, file):
    whole = (raw / file).read_bytes().rstrip(b"\n")
    separator = b"\t" if file == "u.data" else b"|"
    (raw / file).write_bytes(whole[: whole.rindex(separator)])
    last = len(rows(raw / file))
    refused("--data", raw, words=[f"{file}, row {last}", "truncated"])


@pytest.mark.parametrize("file", ["u.data", "u.user", "u.item", "u.genre"])
@pytest.mark.parametrize(
    "change", [lambda fields: fields[:-1], lambda fields: [*fields, "extra"]], ids=["few", "many"]
)
def test_wrong_number_of_columns_is_named(refused, raw, file, change):
    replace_rows(raw / file, change, len(rows(raw / file)), start=0)
    refused("--data", raw, words=[f"{file}, row 1", "columns", "expected", "found"])


def test_header_row_is_named(refused, raw):
    write(raw / "u.data", ["user_id\titem_id\trating\ttimestamp", *rows(raw / "u.data")])
    refused("--data", raw, words=["u.data, row 1", "header"])


# --- an output directory that cannot be used


def test_file_in_place_of_the_output_directory_is_refused(project, tmp_path):
    (tmp_path / "output").write_text("mine")
    result = project.run("--dataset", "sample", output=tmp_path / "output")
    assert_refused(result, 2, [tmp_path / "output", "--output-dir"])
    assert (tmp_path / "output").read_text() == "mine"


@pytest.mark.parametrize("place", ["/proc/output", "/dev/null/output"])
def test_output_directory_that_cannot_be_made_is_refused(project, place):
    result = project.run("--dataset", "sample", output=Path(place))
    assert_refused(result, 2, [place, "--output-dir"])


def run(command):
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small disk, where this user may."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        try:
            run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)])
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no right to mount: {error}")
        return place

    yield mount
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


def test_read_only_output_directory_is_refused(project, mounted):
    place = mounted("size=1m,ro")
    assert_refused(project.run("--dataset", "sample", output=place), 2, [place, "--output-dir"])
    assert_refused(
        project.run("--dataset", "sample", output=place / "output"), 2, [place, "--output-dir"]
    )


@pytest.mark.parametrize("kilobytes", [0, 200, pytest.param(420, marks=pytest.mark.exhaustive)])
def test_full_disk_is_called_that(project, mounted, good, kilobytes):
    """Full at different moments: from the log's first line to the ratings."""
    place = mounted(f"size={max(kilobytes, 4)}k,nr_inodes=400")
    if not kilobytes:
        (place / ".gitkeep").write_bytes(bytes(4096))
    assert_disk_full(project.run("--data", good, output=place))


def assert_disk_full(result):
    printed = "\n".join(result.message)
    assert result.code == 2, result.out + result.err
    assert "full" in printed or "no space left" in printed
    assert "free some space" in printed
    assert len(result.message) <= MOST_LINES, printed
    assert "Traceback" not in result.out + result.err
    assert result.versions == {}


@pytest.mark.exhaustive
def test_run_goes_on_when_there_is_room_again(project, mounted, good):
    """A disk that is too small twice, and at last large enough.

    The last run is interrupted before it trains: whole runs are elsewhere.
    """
    arguments = ("--data", good, "--epochs", "1")
    place = mounted("size=700k")
    failed = []
    for kilobytes in (700, 2700):
        run(["mount", "-o", f"remount,size={kilobytes}k", str(place)])
        result = project.run(*arguments, output=place)
        assert_disk_full(result)
        failed += [name for name, state in result.states.items() if state == "failed"]
    run(["mount", "-o", "remount,size=100m", str(place)])
    run_ = project.start(*arguments, output=place)
    run_.wait_for_start_of("Trainer")
    shown = run_.out
    run_.kill()
    assert re.search("○ StatisticsGen +cached", shown)
    assert failed == sorted(failed, key=COMPONENTS.index)


def test_summary_that_cannot_be_written_is_not_what_is_complained_about(refused, raw, served):
    (served / "summary.json").mkdir()
    replace_rows(raw / "u.user", lambda f: [*f[:3], "astronaut", f[4]])
    result = refused("--data", raw, words=["astronaut", "A result could not be written"])
    assert result.summary is None


# --- rows: found by the ExampleGens


BAD_RATINGS = {
    "too few columns": (lambda f: f[:3], "wrong number of columns"),
    "too many columns": (lambda f: [*f, "1"], "wrong number of columns"),
    "user id": (lambda f: ["Ann", *f[1:]], "non-numeric id"),
    "movie id": (lambda f: [f[0], "Alien", *f[2:]], "non-numeric id"),
    "rating": (lambda f: [*f[:2], "good", f[3]], "non-numeric rating"),
    "timestamp": (lambda f: [*f[:3], "yesterday"], "non-numeric timestamp"),
    "rating range": (lambda f: [*f[:2], "9", f[3]], "rating out of range"),
    "timestamp range": (lambda f: [*f[:3], "888888888888"], "timestamp out of range"),
    "unknown user": (lambda f: ["77777", *f[1:]], "unknown user"),
    "unknown movie": (lambda f: [f[0], "88888", *f[2:]], "unknown movie"),
}


TELLING = ("too few columns", "rating range", "unknown user")
"""Refused in the standard tier: one row of each way in which a row can be wrong; the cleanup's
own tests have them all."""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in TELLING else pytest.mark.exhaustive)
        for kind in BAD_RATINGS
    ],
)
def test_more_than_one_percent_of_bad_ratings_is_refused(refused, raw, kind):
    change, reason = BAD_RATINGS[kind]
    replace_rows(raw / "u.data", change, count=30)
    refused("--data", raw, words=["u.data, row ", reason, "1 %", "expected", "found", "what to do"])


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("u.user", lambda f: [*f[:2], "M" if f[2] == "F" else "F", *f[3:]]),
        ("u.item", lambda f: [f[0], "Another Film (1999)", *f[2:]]),
    ],
)
def test_two_different_rows_of_one_id_are_refused(refused, raw, file, change):
    lines = rows(raw / file)
    write(raw / file, [*lines, "|".join(change(lines[4].split("|")))])
    found = refused("--data", raw, words=[file, "second row", "row 5", "what to do"])
    assert f"{file}, row {len(lines) + 1}" in found.summary["error"]


@pytest.mark.parametrize("file", FILES)
def test_named_pipe_in_place_of_a_file_is_named(refused, raw, file):
    (raw / file).unlink()
    os.mkfifo(raw / file)
    refused("--data", raw, words=[file, "not a regular file", "a named pipe", "what to do"])


def test_occupation_that_is_not_listed_is_refused(refused, raw):
    replace_rows(raw / "u.user", lambda f: [*f[:3], "astronaut", f[4]])
    refused("--data", raw, words=["u.user, row 21", "astronaut", "u.occupation"])


def test_film_metadata_with_a_missing_column_is_refused(refused, raw):
    path = raw / METADATA_FOLDER / "credits.csv"
    path.write_text(path.read_text().replace("cast,crew,id", "cast,staff,id", 1))
    refused("--data", raw, words=["credits.csv", "crew"])


def test_credits_full_of_broken_literals_are_refused(refused, raw):
    path = raw / METADATA_FOLDER / "credits.csv"
    path.write_text(path.read_text().replace("'name': '", "'name': "))
    refused("--data", raw, words=["credits.csv, row ", "literal"])


def test_missing_metadata_file_is_named(refused, raw):
    (raw / METADATA_FOLDER / "credits.csv").unlink()
    refused("--data", raw, words=["missing: credits.csv", "what to do"])


# --- anomalies, and rows that are only counted on the way to them


@pytest.fixture(scope="module")
def anomalous(project, good):
    """A run on a little of everything that is only counted, and a new gender."""
    raw = project.scratch / "anomalous"
    shutil.copytree(good, raw)
    for number, (change, _) in enumerate(BAD_RATINGS.values()):
        if number % 2 == 0:
            replace_rows(raw / "u.data", change, start=300 + number)
    for name in ("u.user", "u.item"):
        write(raw / name, [*rows(raw / name), rows(raw / name)[4]])
    replace_rows(raw / "u.user", lambda f: [*f[:2], "X", *f[3:]], count=3)
    write(raw / "u.occupation", [*rows(raw / "u.occupation"), "astronaut"])
    replace_rows(raw / "u.user", lambda f: [*f[:3], "astronaut", f[4]], start=30)
    output = project.scratch / "anomalous_output"
    version = output / "serving_model" / VERSION
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"a model")
    before = versions(output)
    result = project.run("--data", raw, output=output)
    assert result.versions == before
    return result


def test_new_gender_stops_the_run_before_transform(anomalous):
    assert anomalous.code == 3, anomalous.out
    assert anomalous.summary["status"] == "anomalies"
    assert anomalous.states["AnomalyGate"] == "failed"
    assert list(anomalous.states)[-1] == "AnomalyGate"


def test_anomaly_names_split_feature_value_and_what_to_do(anomalous):
    printed = "\n".join(anomalous.message)
    for word in ("train", "user_gender", "X", "schema/schema.pbtxt", "string_domain"):
        assert word in printed, printed
    assert len(anomalous.message) <= MOST_LINES, printed
    assert "Traceback" not in anomalous.out + anomalous.err


def test_run_stopped_by_anomalies_has_its_report(anomalous):
    page = Path(anomalous.summary["report"]).read_text(encoding="utf-8")
    assert "Stopped before training" in page
    assert "user_gender" in page
    assert "the run did not get as far as the Evaluator" in page


def test_few_bad_rows_are_counted_by_reason(anomalous):
    dropped = anomalous.summary["rows"]["dropped"]
    for number, (_, reason) in enumerate(BAD_RATINGS.values()):
        if number % 2 == 0:
            assert dropped["u.data"][reason] >= 1, reason
            assert reason in " ".join(anomalous.out.split())


def test_exact_duplicates_of_users_and_movies_are_counted(anomalous):
    dropped = anomalous.summary["rows"]["dropped"]
    assert dropped["u.user"]["exact duplicate"] >= 1
    assert dropped["u.item"]["exact duplicate"] >= 1


def test_listed_new_occupation_is_no_anomaly(anomalous):
    assert "astronaut" not in anomalous.out


def test_metadata_damaged_by_a_spreadsheet_is_read_and_counted(anomalous):
    files = anomalous.summary["metadata"]["files"]
    assert files["movies_metadata.csv"]["dropped"]["blank row"] >= 1
    repaired = files["movies_metadata.csv"]["repaired"]
    assert repaired["date of another order read"] >= 1
    assert repaired["upper-case boolean read"] >= 1
    assert files["credits.csv"]["values_lost"]["broken literal"] >= 1


# --- downloads


class Server(http.server.BaseHTTPRequestHandler):
    """Refuses, cuts off or garbles a download, as the path says."""

    def do_GET(self):
        if self.path == "/refused":
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b"x" * (1000 if self.path == "/cut" else 5000))

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def without_proxy(url):
    return {"MOVIELENS_URL": url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


@pytest.mark.parametrize(
    ("path", "word"), [("refused", "403"), ("cut", "cut off"), ("corrupt", "corrupt")]
)
def test_failed_download_is_no_reason_for_a_sample(refused, project, address, path, word):
    environment = without_proxy(f"{address}/{path}")
    found = refused(
        "--dataset", "ml-100k", environment=environment, words=["downloaded", word, "--data"]
    )
    assert "sample-" not in found.out
    assert not (project.scratch / "cache" / "ml-100k").exists()


def test_nobody_listening_is_no_reason_for_a_sample(refused):
    refused("--dataset", "ml-100k", words=["downloaded", "--data"])


def test_auto_takes_a_sample_and_says_so_loudly(project: Project, served, address):
    """Ended by a read-only place for the statistics; the whole run is elsewhere."""
    (served / "pipeline_root").mkdir()
    (served / "pipeline_root" / "StatisticsGen").write_text("in the way")
    result = project.run(
        *("--sample-ratings", "1000"),
        output=served,
        environment=without_proxy(f"{address}/refused"),
    )
    notice = result.summary["dataset"]["notice"]
    assert "NOT REAL DATA" in notice
    assert "403" in notice
    assert (result.summary["dataset"]["name"], result.summary["dataset"]["source"]) == (
        "sample",
        "generated",
    )
    start, end = result.out.split("ImportSchemaGen", 1)
    assert " ".join(start.split()).count(notice) == 1
    assert " ".join(end.split()).count(notice) == 1


# --- what nobody thought of


def test_unexpected_failure_is_one_message_and_the_detail_is_in_the_log(
    project: Project, served, good
):
    (served / "pipeline_root").mkdir()
    (served / "pipeline_root" / "StatisticsGen").write_text("in the way")
    before = versions(served)
    result = project.run("--data", good, output=served)
    assert_refused(result, 1, ["Unexpected failure", served / "run.log"])
    assert "Traceback" in result.log
    assert result.states["StatisticsGen"] == "failed"
    assert result.versions == before


def test_output_directory_of_a_run_that_failed_is_fine_for_the_next(project, served, raw):
    """A component that failed runs again and is never cached."""
    good_row = rows(raw / "u.user")[20]
    replace_rows(raw / "u.user", lambda f: [*f[:3], "astronaut", f[4]])
    first = project.run("--data", raw, output=served)
    again = project.run("--data", raw, output=served)
    assert (first.code, again.code) == (2, 2)
    assert first.summary["error"] == again.summary["error"]
    assert again.states["RatingsGen" if "RatingsGen" in again.states else "MoviesGen"] == "failed"
    assert good_row != rows(raw / "u.user")[20]


def test_verbose_shows_the_log_and_still_ends_with_the_message(project, served, raw):
    replace_rows(raw / "u.user", lambda f: [*f[:3], "astronaut", f[4]])
    result = project.run("--data", raw, "--verbose", output=served)
    assert result.code == 2
    assert "Component ImportSchemaGen started" in result.err
    assert "Component ImportSchemaGen started" in result.log
    assert "Component" not in result.out
    assert result.err.endswith(result.summary["error"] + "\n")
