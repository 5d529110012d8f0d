"""`.venv/bin/python -m components.report`: regenerates the report of the latest run."""

import sys

import preflight

if __name__ == "__main__":
    preflight.require("-m components.report", "runtime", target="report")
    from components.report.cli import main

    sys.exit(main())
