"""`python -m serving`: starts the server."""

import os

# Before TensorFlow's libraries are loaded, which read it once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from serving import lean_tensorflow

lean_tensorflow.install()

from serving.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
