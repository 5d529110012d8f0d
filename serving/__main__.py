"""`.venv/bin/python -m serving`: starts the server."""

import os
import time

import preflight

STARTED = time.monotonic()

if __name__ == "__main__":
    preflight.require("-m serving", "serving", target="serve")

# Before TensorFlow's libraries are loaded, which read it once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN brings an allocator that never gives memory back: one large call would be paid for ever.
# The model's calls take as long without it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from serving import tensorflow_import  # noqa: E402 - after the variables

tensorflow_import.install()

from serving.cli import main  # noqa: E402 - after the variables

if __name__ == "__main__":
    raise SystemExit(main(started=STARTED))
