"""`headgate keygen`: make CURVE keys for an edge and the devices it admits."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--role",
    type=click.Choice(["edge", "device"]),
    help="Make one side's folder in DIR.  [default: both, in DIR/edge and DIR/NAME]",
)
@click.option("--name", default="device", show_default=True, help="What the edge calls the device.")
def keygen(folder: Path, role: str | None, name: str) -> None:
    """Make CURVE keys for edge and devices in DIR.

    They are for `headgate edge --keys` and `headgate device --keys`.

    Without --role, DIR/edge and DIR/NAME are made to trust each other; calling it again with
    another --name admits another device, also while the edge runs. With --role, only that side is
    made, and the public keys (.key) have to be exchanged by hand: edge.key into the device's
    folder, the device's .key file into the edge's devices folder. Secret keys (.key_secret) never
    leave their machine.
    """
    from headgate.profiles.errors import UsageError
    from headgate.runtime.sockets import keys

    if role is None:
        edge, device = keys.make_set(folder, device=name)
        click.echo(f"edge:   headgate edge FAMILY --keys {edge}")
        click.echo(
            f"device: headgate device FAMILY INPUT --keys {device}   (copy the folder there)"
        )
    elif role == "edge":
        if folder.joinpath(f"{keys.DEVICE_NAME}.key_secret").exists():  # edge.key is one it trusts
            raise UsageError(f"{folder}: is a device's keys folder; choose another for the edge")
        keys.write_pair(folder, keys.EDGE_NAME)
        (folder / keys.DEVICES_FOLDER).mkdir(exist_ok=True)
        click.echo(f"wrote {folder / 'edge.key_secret'}; give {folder / 'edge.key'} to devices")
    else:
        keys.check_name(name)
        if folder.joinpath(f"{keys.EDGE_NAME}.key_secret").exists():
            raise UsageError(f"{folder}: is an edge's keys folder; choose another for the device")
        keys.write_pair(folder, keys.DEVICE_NAME)
        click.echo(
            f"wrote {folder / 'device.key_secret'}; copy {folder / 'device.key'} to the edge as "
            f"devices/{name}.key, and the edge's edge.key to {folder}"
        )
