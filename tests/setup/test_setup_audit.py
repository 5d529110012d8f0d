"""`make audit`: known vulnerabilities of the locks, with a service that answers on this machine."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AUDIT = ROOT / "requirements" / "audit.py"
HASH = "--hash=sha256:" + "0" * 64
NOTHING_FOUND, FOUND, NOT_ASKED = 0, 1, 69

WEAK = {
    "id": "PYSEC-2099-1",
    "aliases": ["CVE-2099-0001"],
    "summary": "Anybody may do anything.",
    "affected": [
        {
            "package": {"name": "weak", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    """Speaks OSV's protocol; knows one vulnerability."""

    status = 200

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        weak = query["package"]["name"] == "weak" and query["version"] == "1.0"
        body = json.dumps({"vulns": [WEAK]} if weak else {}).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def service():
    """The class of the answers; `status` changes them, `url` is where it is."""
    answers = type("Answers", (Service,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    answers.url = f"http://127.0.0.1:{server.server_port}/v1/query"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def audit(tmp_path):
    """Audits a lock of the given packages, with the given accepted entries."""

    def run(url, *packages, accepted=""):
        lock, accepts = tmp_path / "lock.txt", tmp_path / "accepted.txt"
        lock.write_text("".join(f"{package} {HASH}\n" for package in packages))
        accepts.write_text(f"# a comment\n{accepted}\n")
        return subprocess.run(
            [sys.executable, AUDIT, lock, "--service", "osv", "--osv-url", url,
             "--accepted", accepts],
            capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            check=False,
        )  # fmt: skip

    return run


def test_a_known_vulnerability_fails_with_its_names_and_the_version_that_mends_it(audit, service):
    done = audit(service.url, "weak==1.0", "sound==2.0")
    assert done.returncode == FOUND, done.stderr
    assert "weak 1.0: PYSEC-2099-1, CVE-2099-0001; fixed in 1.1" in done.stdout
    assert "Anybody may do anything." in done.stdout
    assert "2 packages were looked up, 1 known vulnerabilities, 0 of them accepted" in done.stdout


def test_packages_without_known_vulnerabilities_pass(audit, service):
    done = audit(service.url, "weak==1.1", "sound==2.0")
    assert (done.returncode, done.stderr) == (NOTHING_FOUND, "")


def test_an_accepted_one_passes_with_its_reason_under_any_of_its_names(audit, service):
    done = audit(service.url, "weak==1.0", accepted="CVE-2099-0001 weak: nobody calls it")
    assert done.returncode == NOTHING_FOUND, done.stdout
    assert "accepted: weak: nobody calls it" in done.stdout


def test_a_service_that_refuses_is_not_success(audit, service):
    service.status = 500
    done = audit(service.url, "sound==2.0")
    assert done.returncode == NOT_ASKED
    assert done.stderr.startswith("Known vulnerabilities could not be looked up: ")
    assert "Traceback" not in done.stderr


def test_no_network_is_not_success(audit):
    done = audit("http://127.0.0.1:9/v1/query", "sound==2.0")
    assert done.returncode == NOT_ASKED
    assert "says nothing about the packages" in done.stderr


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(AUDIT.parent))
    import audit

    return audit


def test_a_package_that_the_service_does_not_know_is_not_called_safe(module, capsys):
    """pip-audit ends with success where every package was skipped, as on a closed network."""
    skipped = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}
    sound = {"name": "scipy", "version": "1.0", "vulns": []}
    assert module.judge({"dependencies": [skipped, sound]}, {}) == NOT_ASKED
    printed = capsys.readouterr()
    assert "1 packages were looked up" in printed.out
    assert "no answer for 1 packages: numpy" in printed.err


def test_every_accepted_vulnerability_has_a_reason_and_stands_in_the_docs(module):
    accepted = module.read_accepted(module.ACCEPTED)
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert all(len(reason) > 20 for reason in accepted.values())
    assert [name for name in accepted if name not in page] == []


def test_what_does_not_exist_is_wrong_use(module, capsys):
    with pytest.raises(SystemExit) as caught:
        module.main(["no-such-lock.txt"])
    assert caught.value.code == 2
    assert "no-such-lock.txt" in capsys.readouterr().err
