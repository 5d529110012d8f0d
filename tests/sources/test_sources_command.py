"""`.venv/bin/python -m sources describe`: what it prints, and how it ends."""

import re
import signal
import zipfile
from pathlib import Path

import pytest
from movielens_files import ML_CSV, write

from pipeline.cli import main as run
from sources import description
from sources.__main__ import main


def test_it_prints_what_is_understood_and_writes_nothing_beside_the_data(tmp_path, capsys):
    folder = write(tmp_path / "data", ML_CSV)
    before = sorted(tmp_path.rglob("*"))
    assert main(["describe", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("Format: MovieLens as CSV (ml-csv)\n")
    assert sorted(tmp_path.rglob("*")) == before


GUIDE = Path(__file__).parents[2] / "docs/guides/own-data.md"


def blocks(language):
    """The fenced blocks of the guide in a language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_commands_of_the_guide_work_on_its_own_table(tmp_path, monkeypatch, capsys):
    [table] = blocks("csv")
    header, row = table.splitlines()
    more = [
        row.replace("-9b57-", f"-{user}-").replace("0042", f"{item:04}").replace(",4,", f",{star},")
        for user, item, star in zip(
            range(1000, 1030), range(7, 7 * 31, 7), [1, 2, 5] * 10, strict=True
        )
    ]
    text = "\n".join((header, row, *more))
    write(tmp_path / "my-data", {"interactions.csv": text.encode()})
    monkeypatch.chdir(tmp_path)
    line = next(one for one in "".join(blocks("sh")).splitlines() if "describe" in one)
    _, arguments = line.split(" -m sources ")
    assert main(arguments.split()) == 0
    printed = capsys.readouterr().out
    assert "user_id (user), item_id (item), rating (rating), timestamp (time)" in printed
    assert "Users: 31 with ratings" in printed


def test_the_description_in_the_guide_can_be_read(tmp_path):
    [text] = [one for one in blocks("toml") if "[columns]" in one]
    (tmp_path / "data.toml").write_text(text)
    found = description.read(tmp_path / "data.toml")
    assert found.columns["user"] == "buyer"
    assert set(found.features.values()) <= {*description.KINDS, description.IGNORE}


def test_what_is_not_recognised_ends_with_2_and_what_to_do(tmp_path, capsys):
    assert main(["describe", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "no data set is recognised" in output.err
    assert "what to do: name the table of events interactions.*" in output.err
    assert "see docs/guides/own-data.md" in output.err


def test_more_lost_than_is_allowed_ends_with_2_as_a_run_does(tmp_path, capsys):
    lines = [f"u{i},i{i % 7},{'good' if i < 10 else i % 5}\n" for i in range(100)]
    (tmp_path / "plays.csv").write_text("user,item,stars\n" + "".join(lines))
    command = ["describe", str(tmp_path / "plays.csv"), "--output-dir", str(tmp_path / "out")]
    assert main(command) == 2
    output = capsys.readouterr()
    assert "10 rows dropped" in output.out
    assert "--max-loss" in output.err
    assert main([*command, "--max-loss", "0.1"]) == 0
    assert main([*command, "--max-loss", "0.09"]) == 2
    assert main([*command, "--max-loss", "2"]) == 2
    assert "--max-loss is out of range" in capsys.readouterr().err


def test_what_is_no_data_is_named_without_options_that_the_command_lacks(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as zipped:
        zipped.writestr("README", "nothing")
    for path, message in {
        "/dev/null": "not a regular file",
        str(tmp_path / "nothing"): "no such file or folder",
        str(tmp_path): f"give the zip file itself: {tmp_path / 'ml.zip'}; or see docs/guides",
    }.items():
        assert main(["describe", path]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "--data" not in error


@pytest.mark.parametrize(
    ("header", "row", "what"),
    [("user,item", "u,i", "events"), ("user,item,stars", "u,i,4\nu,j,5", "ratings")],
)
def test_what_a_run_refuses_early_ends_with_2_after_everything_is_printed(
    tmp_path, capsys, header, row, what
):
    (tmp_path / "plays.csv").write_text(f"{header}\n{row}\n")
    command = ["describe", str(tmp_path / "plays.csv"), "--output-dir", str(tmp_path / "out")]
    assert main(command) == 2
    output = capsys.readouterr()
    assert "Odd: nothing" in output.out
    assert output.err.startswith("a run refuses this data: the random split (70% train, ")
    assert f"leaves no {what} for " in output.err
    assert f"usable {what}: " in output.err
    assert ({"events": "ratings", "ratings": "events"}[what]) not in output.err


def test_a_reader_that_leaves_ends_it_quietly(tmp_path, monkeypatch, capsys):
    def broken(*parts):
        raise BrokenPipeError

    folder = write(tmp_path / "data", ML_CSV)
    monkeypatch.setattr("builtins.print", broken)
    assert main(["describe", str(folder)]) == 128 + signal.SIGPIPE
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", [main, run])
def test_a_reader_that_leaves_the_help_ends_it_quietly(command, monkeypatch, capsys):
    def broken(parser, file=None):
        raise BrokenPipeError

    monkeypatch.setattr("argparse.ArgumentParser.print_help", broken)
    assert command(["--help"]) == 128 + signal.SIGPIPE
    assert capsys.readouterr() == ("", "")
