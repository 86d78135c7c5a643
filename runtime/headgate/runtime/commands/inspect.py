"""`headgate inspect`: verify a family folder and show its operating points."""

import json
from pathlib import Path

import click

PIPED_WIDTH = 120


@click.command()
@click.argument("family", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def inspect(family: Path, as_json: bool) -> None:
    """Verify FAMILY and list its operating points.

    Every file is checked against its digest; points that another beats in all respects are marked.
    A device's part of a family, or an edge's, is checked as that.
    """
    from rich.console import Console

    from headgate.profiles.family import open_family, roles_held
    from headgate.runtime.commands.points_table import family_to_json, points_table

    roles = roles_held(family)
    manifest = open_family(family, roles=roles).manifest
    if as_json:
        click.echo(json.dumps(family_to_json(manifest, roles=roles)))
        return
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(points_table(manifest, roles=roles))
