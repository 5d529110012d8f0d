"""`.venv/bin/python -m serving.batch`; see `serving/batch/command.py`."""

import os
import signal

import preflight

if __name__ == "__main__":
    # Until our own handlers are there an interrupt just ends the process, without a stack trace.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    preflight.require("-m serving.batch", "serving", "runtime")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from serving import tensorflow_import

tensorflow_import.install()

from serving.batch.command import main  # noqa: E402 - behind the import above

if __name__ == "__main__":
    raise SystemExit(main())
