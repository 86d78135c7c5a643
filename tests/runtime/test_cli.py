import errno
import os
import signal
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
import zmq
from click.testing import CliRunner

from headgate.profiles.errors import (
    FamilyError,
    GateError,
    HeadgateError,
    PeerError,
    TrainingError,
    UsageError,
    WireError,
)
from headgate.runtime import cli

COMMANDS = {
    "train", "export", "inspect", "edge", "device", "link", "profile", "bench", "demo", "keygen",
}  # fmt: skip


def failing(error: BaseException) -> click.Group:
    """Return the command with one subcommand, `fail`, that raises."""

    @click.group(cls=cli.HeadgateGroup)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HeadgateError("what"), 1),
        (TrainingError("what"), 1),
        (UsageError("what"), 2),
        (GateError("what"), 3),
        (FamilyError("what"), 4),
        (WireError("what"), 4),
        (PeerError("what"), 5),
    ],
)
def test_every_error_is_one_line_on_stderr_and_its_exit_code(
    error: HeadgateError, code: int
) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr == "headgate: error: what\n"
    assert result.stdout == ""


def test_interrupting_is_exit_code_130_without_a_traceback() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert result.exit_code == 130
    assert result.stderr == "headgate: interrupted\n"


def test_what_a_library_makes_of_an_interruption_is_still_one() -> None:
    @click.group(cls=cli.HeadgateGroup)
    def group() -> None: ...

    @group.command()
    def load() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = CliRunner().invoke(group, ["load"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert result.stderr == "headgate: interrupted\n"


def test_an_interruption_that_is_lost_in_a_destructor_comes_once_more() -> None:
    class Loaded:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    @click.group(cls=cli.HeadgateGroup)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        Loaded()
        threading.Event().wait(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = CliRunner().invoke(group, ["work"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert result.stderr == "headgate: interrupted\n"


def test_an_interruption_amid_an_exec_ends_by_its_code_and_not_by_the_signal(
    tmp_path: Path,
) -> None:
    (tmp_path / "stub.py").write_text(
        "from headgate.runtime import cli\n"
        "group = cli.HeadgateGroup()\n"
        "@group.command()\n"
        "def load():\n"
        "    exec('raise KeyboardInterrupt')\n"
        "group(['load'])\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    # By -m: of a file or a text, Python ends with the code before it looks at the note.
    ended = subprocess.run(
        [sys.executable, "-m", "stub"],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "headgate: interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", [["profile", "list"], ["--help"], ["profile", "list", "--json"]]
)
def test_a_standard_output_that_is_full_is_one_sentence(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "headgate.runtime.cli", *command],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == (
        "headgate: error: standard output or a file cannot be written (No space left on device); "
        "free space, or write elsewhere\n"
    )


def test_an_interruption_beside_the_command_has_the_same_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.group(cls=cli.HeadgateGroup)
    @click.pass_context
    def group(context: click.Context) -> None:
        context.call_on_close(interrupt)

    @group.command()
    def work() -> None: ...

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        group(["work"])
    assert end.value.code == 130
    assert capsys.readouterr().err.strip() == "headgate: interrupted"


def test_the_end_of_a_file_is_a_bug_and_no_interruption() -> None:
    with pytest.raises(EOFError, match="nothing left"):
        failing(EOFError("nothing left"))(["fail"])


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["fail"], 5), (["fail", "more"], 2), (["other"], 2)]
)
def test_the_program_ends_with_the_code_of_its_command(arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as end:
        failing(PeerError("gone"))(arguments)
    assert end.value.code == code


def test_what_was_noted_of_an_end_stands_behind_it() -> None:
    interruption = KeyboardInterrupt()
    interruption.add_note("this is how to go on")
    result = CliRunner().invoke(failing(interruption), ["fail"])
    assert result.stderr == "headgate: interrupted; this is how to go on\n"
    error = OSError(errno.EROFS, "read-only", "out")
    error.add_note("this is how to go on")
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.stderr.endswith("make the disk writable; this is how to go on\n")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENOSPC, 1, "cannot be written, its disk is full; free space"),
        (errno.EIO, 1, "the system says 'Input/output error'; make the place usable"),
        (errno.EACCES, 2, "there is no permission for it; choose another place"),
        (errno.EROFS, 2, "its disk is read-only; choose another place"),
        (errno.ENOTDIR, 2, "a file is in the place of a folder; choose another place"),
    ],
)
def test_a_file_the_system_refuses_is_one_line_with_its_name(
    number: int, code: int, said: str
) -> None:
    error = OSError(number, os.strerror(number), "out/run.json")
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr.startswith(f"headgate: error: out/run.json: {said}")
    assert result.stderr.count("\n") == 1


def test_of_two_files_the_one_that_was_to_be_written_is_named() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "from", None, "to")
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.stderr.startswith("headgate: error: to: cannot be written")


def test_a_missing_extra_is_named() -> None:
    result = CliRunner().invoke(failing(ModuleNotFoundError("x", name="torch.nn")), ["fail"])
    assert result.exit_code == 2
    assert "needs the Python module 'torch.nn'" in result.stderr
    assert "pip install '.[train]' in a copy of this repository" in result.stderr


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), zmq.ZMQError(errno.EMFILE)]
)
def test_a_want_of_descriptors_is_one_line_whoever_says_so(error: Exception) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == 1
    assert result.stderr.startswith("headgate: error: too many files are open for one more; raise")
    assert result.stderr.count("\n") == 1


def test_a_want_of_memory_is_one_line() -> None:
    result = CliRunner().invoke(failing(MemoryError()), ["fail"])
    assert result.exit_code == 1
    assert result.stderr.startswith("headgate: error: out of memory; close other programs")
    assert result.stderr.count("\n") == 1


def test_a_bug_is_not_dressed_up() -> None:
    result = CliRunner().invoke(failing(ZeroDivisionError("bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)
    result = CliRunner().invoke(failing(ModuleNotFoundError("x", name="headgate.odd")), ["fail"])
    assert isinstance(result.exception, ModuleNotFoundError)


def test_every_command_is_found_and_an_unknown_one_is_a_usage_error() -> None:
    assert set(cli.available_commands()) == COMMANDS
    result = CliRunner().invoke(cli.main, ["divide"])
    assert result.exit_code == 2
    assert "No such command 'divide'" in result.stderr


def test_help_survives_a_command_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "headgate_no_such_module:command", cli.COMMAND_GROUP)
    monkeypatch.setattr(cli, "available_commands", lambda: {"broken": broken})
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert "broken" in result.stdout


def modules_after(code: str) -> set[str]:
    """Return what a fresh interpreter has imported after running `code`."""
    script = f"import sys\n{code}\nprint('\\nMODULES', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def test_help_imports_neither_torch_nor_onnx_nor_onnxruntime() -> None:
    code = (
        "from headgate.runtime.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    found = modules_after(code)
    assert found.isdisjoint({"torch", "onnx", "onnxruntime", "matplotlib", "av", "zmq"})
    assert "headgate.runtime.commands.device" in found


def test_the_whole_device_path_imports_no_torch_and_no_onnx() -> None:
    found = modules_after(
        "import headgate.runtime.device.device, headgate.runtime.networks.device_engine\n"
        "import headgate.runtime.device.sources, headgate.runtime.device.sinks\n"
        "import headgate.runtime.device.live\n"
        "import headgate.runtime.commands.device"
    )
    assert "onnxruntime" in found
    assert found.isdisjoint({"torch", "torchvision", "onnx", "onnxscript", "lightning_fabric"})


LEAVES_A_THREAD = """
import atexit, threading
import click
from headgate.runtime.cli import main
from headgate.runtime.device import aside

def leave():
    threading.Thread(target=threading.Event().wait, name=aside.THREAD_NAME, daemon=True).start()

@main.command("leave")
@click.pass_context
def command(ctx):
    {inside}
    click.echo("done", nl=False)
    ctx.exit(3)

{before}
atexit.register(print, ", and torn down", end="")
main(["leave"])
"""


@pytest.mark.parametrize(
    ("before", "inside", "said"), [("", "leave()", "done"), ("leave()", "", "done, and torn down")]
)
def test_python_is_not_torn_down_beneath_a_thread_that_the_command_left_in_a_library(
    before: str, inside: str, said: str
) -> None:
    code = LEAVES_A_THREAD.format(before=before, inside=inside)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, said, "")
