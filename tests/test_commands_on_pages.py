"""Commands, options and make targets that the pages name exist, and take what they are given."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from headgate.runtime.cli import main

ROOT = Path(__file__).parents[1]
# The log and the changelog tell of what has gone.
HISTORY = ("log.md", "CHANGELOG.md")
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
    if page.name not in HISTORY
]
OF_OTHERS = {"--no-compile"}  # pip's


def in_blocks(text: str) -> list[list[str]]:
    """Return the words of each `headgate` command in the page's blocks."""
    found = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(found).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("headgate ")]


def spans(text: str) -> list[str]:
    """Return what the page's sentences have between backticks, each on one line."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def in_sentences(text: str) -> list[list[str]]:
    """Return the words of each `headgate` command in the page's sentences."""
    return [
        [word.strip("[]") for word in shlex.split(span)[1:] if word != "..."]
        for span in spans(text)
        if span.startswith("headgate ")
    ]


def command_of(words: list[str]) -> tuple[click.Context, list[str]]:
    """Return the innermost command that `words` name, and what is left of them."""
    context, left = click.Context(main, info_name="headgate"), list(words)
    while isinstance(context.command, click.Group) and left and not left[0].startswith("-"):
        name = left.pop(0)
        command = context.command.get_command(context, name)
        assert command is not None, f"no command {name!r}"
        context = click.Context(command, info_name=name, parent=context)
    return context, left


def take(context: click.Context, words: list[str]) -> dict[str, Any]:
    """Parse `words` as the command does, but for files and words like N that stand for a value."""
    values, _, _ = context.command.make_parser(context).parse_args(list(words))
    for parameter in context.command.get_params(context):
        value = values.get(parameter.name or "")
        stands_for_one = isinstance(value, str) and value.isupper()
        if value and not stands_for_one and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)
    return values


def page_commands(find: Callable[[str], list[list[str]]]) -> list[Any]:
    return [
        pytest.param(words, id=f"{page.name}: {' '.join(words)}"[:90])
        for page in PAGES
        for words in find(page.read_text(encoding="utf-8"))
    ]


def options(command: click.Command) -> Iterator[str]:
    """Yield the options of a command and of those below it."""
    for parameter in command.get_params(click.Context(command)):
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below)


@pytest.mark.parametrize("words", page_commands(in_blocks))
def test_commands_to_type_run_as_they_stand(words: list[str]) -> None:
    context, left = command_of(words)
    values = take(context, left)
    if "..." not in words:
        assert not isinstance(context.command, click.Group)
        for parameter in context.command.get_params(context):
            assert values.get(parameter.name or "") or not parameter.required, parameter.name


@pytest.mark.parametrize("words", page_commands(in_sentences))
def test_commands_in_sentences_are_there(words: list[str]) -> None:
    context, left = command_of(words)
    take(context, left)


def test_options_in_sentences_are_some_commands() -> None:
    known = {*options(main), "--help", *OF_OTHERS}
    named = {
        (page.name, word)
        for page in PAGES
        for span in spans(page.read_text(encoding="utf-8"))
        for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
        if not span.startswith("git ")
    }
    assert sorted((page, word) for page, word in named if word not in known) == []


def test_make_targets_on_the_pages_are_the_makefiles() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), flags=re.MULTILINE)
    }
    assert named - targets == set()
