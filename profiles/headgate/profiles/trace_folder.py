"""Opening what the user calls recorded links: a folder of traces, one file, or a built-in name."""

from pathlib import Path

from headgate.profiles.errors import TraceError, UsageError
from headgate.profiles.trace import Trace
from headgate.profiles.trace_files import open_trace, read_trace

NOT_TRACES = (".md", ".json", ".toml", ".html", ".pdf", ".png", ".jpg", ".zip", ".gz", ".py")


def open_traces(folder: Path) -> tuple[list[Trace], list[str]]:
    """Return the traces of a folder by name, and a note on each file that is none."""
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() not in NOT_TRACES
    )
    traces, notes = [], []
    for path in paths:
        try:
            traces.append(read_trace(path))
        except TraceError as reason:
            notes.append(f"left out: {reason}".replace(str(path), path.name))
    if not traces:
        raise UsageError(
            f"{folder}: no trace found ({len(notes)} files could not be read"
            f"{': ' + notes[0] if notes else ''}); give a folder of CSV or mahimahi traces"
        )
    return traces, notes


def open_folder_or_trace(name_or_path: str) -> tuple[list[Trace], list[str]]:
    """Return the traces of a folder as `open_traces` does, or the one of that file or name."""
    path = Path(name_or_path)
    return open_traces(path) if path.is_dir() else ([open_trace(name_or_path)], [])
