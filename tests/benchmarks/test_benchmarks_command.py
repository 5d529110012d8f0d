"""How a benchmark's command ends."""

import pytest

from benchmarks import command
from sources.errors import InputError


def fail(error):
    def main(arguments):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "beginning"),
    [
        (InputError("no such file", action="give another"), 2, "no such file"),
        (KeyboardInterrupt(), 130, "Stopped; go on."),
    ],
)
def test_mistakes_and_interruptions_end_with_a_message_and_a_code(capsys, error, code, beginning):
    with pytest.raises(SystemExit) as caught:
        command.run(fail(error), "Stopped; go on.")
    assert caught.value.code == code
    message = capsys.readouterr().err
    assert message.startswith(beginning)
    assert "Traceback" not in message


def test_a_defect_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command.run(fail(ZeroDivisionError()), "Stopped.")
