"""Runs `local_runner.py`'s main in forks of a process that has imported everything.

Importing TensorFlow and TFX takes longer than most of what the tests look at. This process
does it once; each run is a fork of it, with its own process group, environment and output
files, and can be killed like any other process.

Reads requests as lines of JSON, answers each with two lines: the pid, and then the status.
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path


def main():
    root = Path(sys.argv[1])
    sys.path.insert(0, str(root))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # What pipeline.run imports late; none of it starts a thread until it is used.
    from pipeline import cli, dag, outcome, pipeline, run  # noqa: F401 - imported beforehand

    answers.write("ready\n")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(cli.main, **request))
        answers.write(f"{pid}\n")
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


def _child(run, arguments, cwd, environment, stdout, stderr, thresholds, file_bytes):
    os.setsid()
    # Shells start what runs in the background with Ctrl-C ignored, and forks inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin.close()
    if thresholds is not None:
        _replace_thresholds(thresholds)
    if file_bytes is not None:
        # Writing beyond it then fails with an error, as on a full disk, instead of a signal.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    for descriptor, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["local_runner.py", *arguments]
    try:
        status = run(arguments)
    except SystemExit as exit_:
        status = exit_.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _replace_thresholds(bounds):
    from components.evaluation.config import Thresholds
    from pipeline import thresholds

    thresholds.thresholds_for = lambda *_: Thresholds(**bounds)


if __name__ == "__main__":
    main()
