"""The `headgate` command: finds its subcommands by entry point and turns errors into exit codes.

Subcommands live in the part they belong to and are found through the entry-point group
`headgate.commands`, so that the runtime never imports training or export. Nothing heavy is
imported here: `headgate --help` must stay quick on a Raspberry Pi.

Exit codes: 0 done, 1 runtime failure, 2 usage or configuration, 3 a quality or SLA gate failed,
4 family or wire mismatch, 5 peer not reachable, 130 interrupted by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import click

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.profiles.refusals import refusal
from headgate.runtime.device import aside
from headgate.runtime.signals import interrupted_by_sigterm, noting_interruptions

COMMAND_GROUP = "headgate.commands"
INTERRUPTED, INTERRUPTED_EXIT_CODE = "headgate: interrupted", 130

# Which extra brings a module that a command imports when it runs.
EXTRA_BY_MODULE = {
    "torch": "train",
    "lightning_fabric": "train",
    "safetensors": "train",
    "sklearn": "train",
    "onnx": "export",
    "onnxscript": "export",
    "matplotlib": "export",
    "onnxruntime": "cpu",
    "av": "video",
}


def missing_module_message(module: str | None) -> str:
    """Say which extra to install for `module`, one sentence."""
    extra = EXTRA_BY_MODULE.get((module or "").partition(".")[0])
    remedy = f"pip install {module}"
    if extra:
        remedy = f"pip install '.[{extra}]' in a copy of this repository"
    return f"this command needs the Python module {module!r}, which is not installed; {remedy}"


def with_notes(text: str, error: BaseException) -> str:
    """Return `text` with what was noted of `error` behind it, such as how to go on."""
    return "; ".join([text, *getattr(error, "__notes__", ())])


def explained(error: BaseException) -> HeadgateError | None:
    """Return what to tell the user of an error, or None for what is a bug or click's own."""
    if isinstance(error, HeadgateError):
        return error
    # ZeroMQ's errors are no OSErrors, and its module is not to be imported here.
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return HeadgateError(
            "too many files are open for one more; raise `ulimit -n`, or close other programs"
        )
    if isinstance(error, OSError) and error.errno != errno.EPIPE and error.filename is not None:
        return refusal(error, place=error.filename2 or error.filename)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
        return HeadgateError(  # what is printed has no name
            f"standard output or a file cannot be written ({error.strerror}); free space, or write "
            "elsewhere"
        )
    if isinstance(error, MemoryError):
        return HeadgateError(
            "out of memory; close other programs, raise `ulimit -v`, or take smaller networks or "
            "pictures"
        )
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        return UsageError(missing_module_message(error.name)) if module in EXTRA_BY_MODULE else None
    return None  # of a reader that leaves, click makes a quiet end


def ending(error: BaseException) -> tuple[str, int | None]:
    """Return the line and the exit code that an error is to its user; no code for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, INTERRUPTED_EXIT_CODE
    told = explained(error)
    return f"headgate: error: {told}", None if told is None else told.exit_code


def available_commands() -> dict[str, EntryPoint]:
    """List the installed subcommands by name, without importing them."""
    return {entry.name: entry for entry in entry_points(group=COMMAND_GROUP)}


class HeadgateGroup(click.Group):
    """A click group that loads a subcommand only when it is asked for.

    It also owns the one place where an error becomes a line on stderr and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*available_commands(), *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        entry = available_commands().get(cmd_name)
        if entry is None:
            return None
        try:
            command = entry.load()
        except ModuleNotFoundError as error:
            raise click.ClickException(missing_module_message(error.name)) from error
        assert isinstance(command, click.Command)
        self.add_command(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            try:
                command = self.get_command(ctx, name)
            except click.ClickException as error:
                rows.append((name, f"({error.message})"))
                continue
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=70)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def __call__(self, args: Sequence[str] | None = None, **extra: Any) -> Any:
        """Do what click does, but for what it would call "Aborted!", with exit code 1.

        That is Ctrl-C where it comes beside `invoke`, and every EOFError, which is a bug like
        another. SIGTERM is Ctrl-C too until the command has a way of its own: it may load for long.
        """
        before = threading.enumerate()
        # Of torchrun's processes one may wait for another in a call that no handler interrupts.
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        try:
            with interrupted_by_sigterm() if is_alone else contextlib.nullcontext():
                code = self.main(args, standalone_mode=False, **extra)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt) as end:
            if isinstance(end.__cause__, EOFError):
                raise end.__cause__ from None
            click.echo(INTERRUPTED, err=True)
            code = INTERRUPTED_EXIT_CODE
        except OSError as error:  # of the help
            text, code = ending(error)
            if code is None:
                raise
            click.echo(text, err=True)
        _check_stdout()
        if code == INTERRUPTED_EXIT_CODE:
            # A KeyboardInterrupt that passed through `exec` of a text, as of a dataclass that is
            # being made, leaves CPython a note to end by SIGINT instead (seen with `python -m`).
            # The next `exec` of a text removes it. To block SIGINT would not do: threads of torch
            # that do not block it take it.
            exec("")
        _end(code if isinstance(code, int) else 0, threads_before=before)

    def invoke(self, ctx: click.Context) -> Any:
        with noting_interruptions() as was_interrupted:
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.Abort, click.exceptions.Exit):
                raise
            except (KeyboardInterrupt, Exception) as error:
                # What a library makes of Ctrl-C is no error of its own.
                text, code = ending(KeyboardInterrupt() if was_interrupted() else error)
                if code is None:
                    raise
                click.echo(with_notes(text, error), err=True)
                ctx.exit(code)


def _end(code: int, *, threads_before: Sequence[threading.Thread]) -> NoReturn:
    """End the process; at once if the command left a thread behind in a library (see `aside`).

    Python would take itself down beneath it: FFmpeg, stopped while it connected, then crashed in
    one of thirty runs.
    """
    new = [thread for thread in threading.enumerate() if thread not in threads_before]
    if any(thread.name == aside.THREAD_NAME for thread in new):
        os._exit(code)  # what was said is out by now: see `_check_stdout`, and click's `echo`
    sys.exit(code)


def _check_stdout() -> None:
    """Drop what a standard output that failed still holds, or Python complains of it at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@click.group(
    cls=HeadgateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="headgate", prog_name="headgate")
def main() -> None:
    """Train, export and run families of split vision models across a device and an edge."""
    # OpenMP reads it when a library loads it: threads that wait by spinning make training up to
    # 30 times slower (measured, 2 cores) as soon as anything else wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    main()
