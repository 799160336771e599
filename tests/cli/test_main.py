"""What a command does where code of a plugin ends the process, raises anything, or leaves a thread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.cli import list as list_command
from harness.core import registry
from harness.core.children import child_environment
from tests.cli.test_cli import invoke

AT_IMPORT = {
    "leaves": ("import os\nos._exit(0)\n", "SystemExit at plugin_leaves:2"),
    "interrupts": ("raise KeyboardInterrupt('SECRET')\n", "KeyboardInterrupt at plugin_interrupts:1"),
    "raises": ("raise BaseException('SECRET')\n", "BaseException at plugin_raises:1"),
}


@pytest.fixture(params=AT_IMPORT)
def plugin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric whose module does something at import that no module should do."""
    name = str(request.param)
    (tmp_path / f"plugin_{name}.py").write_text(AT_IMPORT[name][0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.METRICS, name, f"plugin_{name}:Anything")
    registry._table.cache_clear()
    return name


def test_a_module_that_ends_the_process_hides_no_other(
    plugin: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = invoke(capfd, "list", "metrics", "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert code == 1
    assert AT_IMPORT[plugin][1] in rows[plugin]["error"]
    assert "error" not in rows["bleu"]
    assert "SECRET" not in out + err


@pytest.mark.parametrize("error", [ValueError, BaseException])
def test_what_nobody_expected_is_one_line(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(what: str) -> None:
        raise error("SECRET report")

    monkeypatch.setattr(list_command, "listing", fails)
    code, out, err = invoke(capsys, "list", "methods")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {error.__name__} at tests.cli.test_main:")
    assert err.count("\n") == 1
    assert "SECRET" not in err
    _, _, err = invoke(capsys, "--debug", "list", "methods")
    assert "Traceback" in err


PROGRAM = """
import sys, threading, time
from harness.cli import list as command, main
def listing(what):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return []
command.listing = listing
sys.argv = ["harness", "list", "methods"]
main.main()
"""


def test_a_thread_that_is_left_does_not_keep_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        env=child_environment(),
        cwd=os.getcwd(),
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == "a thread that a plugin has started did not end; it is left\n"


LEAVES = """
import multiprocessing, subprocess, sys, time
from harness.cli import list as command, main
MARK = "import time; time.sleep(60)"
def listing(what):
    subprocess.Popen([sys.executable, "-c", MARK, "{mark}"], stdout=subprocess.DEVNULL, stderr=-3)
    daemon = f"import subprocess as s, sys; s.Popen([sys.executable, '-c', {MARK!r}, '{mark}'])"
    subprocess.run([sys.executable, "-c", daemon], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()
    return []
command.listing = listing
sys.argv = ["harness", "list", "methods"]
main.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not name the processes that are left")
def test_processes_that_a_plugin_leaves_end_with_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES.replace("{mark}", str(tmp_path))],
        capture_output=True,
        text=True,
        timeout=30,  # less than they would live
        env=child_environment(),
        cwd=os.getcwd(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if holds(entry, str(tmp_path))]


def holds(command: Path, mark: str) -> bool:
    with suppress(OSError):
        return mark.encode() in command.read_bytes()
    return False


def test_a_run_without_a_method_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "run", "--dataset", "example", "--methods", "", "--metrics", "bleu")
    assert code == 2
    assert err.startswith("error: no method is named")


FAILS_LATER = """
import asyncio, gc, logging, sys, threading, time
from harness.cli import list as command, main
class Loud:
    def __del__(self):
        raise ValueError("SECRET")
def fail():
    time.sleep(0.1)
    raise ValueError("SECRET")
def listing(what):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    command.kept = Loud()
    logging.getLogger("harness.mine").error("SECRET")
    logging.getLogger("asyncio").error("SECRET", exc_info=ValueError("SECRET"))
    return []
command.listing = listing
sys.argv = ["harness", "list", "methods"]
main.main()
"""


def test_what_fails_where_nothing_handles_it_is_a_line_without_its_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS_LATER],
        capture_output=True,
        text=True,
        env=child_environment(),
        cwd=os.getcwd(),
        check=False,
    )
    assert done.returncode == 0
    assert "a thread failed: ValueError at __main__:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "SECRET" not in done.stderr


CATCHES_ALL = """
import sys, time
from harness.cli import list as command, main
def listing(what):
    print("begun", flush=True)
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
command.listing = listing
sys.argv = ["harness", "list", "methods"]
main.main()
"""


@pytest.mark.process
def test_a_signal_ends_code_that_catches_everything() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", CATCHES_ALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        cwd=os.getcwd(),
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "begun\n"
    time.sleep(0.5)  # it is inside its loop, where it catches everything
    command.send_signal(signal.SIGTERM)
    _, err = command.communicate(timeout=12)
    assert command.returncode == 128 + signal.SIGTERM
    assert err == "stopped by SIGTERM: code of a plugin did not end\n"


def test_too_few_open_files_are_one_line() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30)); "
        "from harness.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "list", "methods"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | child_environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: too few files may be open at once (raise the limit, ulimit -n)\n"
