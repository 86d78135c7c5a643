"""A group of commands whose help lists whole sentences, wrapped where the terminal ends."""

import click

ROOM = 120  # characters; click's own list cuts a sentence where its first line is full


class SentenceGroup(click.Group):
    """Lists each command with the first sentence of its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=ROOM)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
