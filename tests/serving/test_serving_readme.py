"""What the README says of the pushed model works as it stands there."""

import re
import subprocess
import sys

import pytest
from serving_fixtures import ROOT

pytestmark = pytest.mark.xdist_group("serving")


def test_the_example_of_plain_tensorflow_prints_ten_titles(pushed, user_ids, catalogue):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = [
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if 'signatures["recommend"]' in block
    ]
    code = code.replace("output/serving_model", str(pushed / "serving_model"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    titles = [movie["title"] for movie in catalogue]
    assert sum(repr(title) in done.stdout for title in titles) >= 10
