"""`headgate link`: stand between a device and an edge as a recorded link would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from headgate.profiles.errors import UsageError

if TYPE_CHECKING:
    from headgate.runtime.emulator.link_thread import Address, LinkPlan, LinkThread
    from headgate.runtime.emulator.shaper import Window

FOREVER_S = 1e9
MAX_DELAY_MS = 60_000.0  # a minute each way, more than to the moon and back


@click.command()
@click.argument("trace")
@click.option(
    "--listen",
    help="where the device connects  [default: tcp://127.0.0.1:7701, or tcp://198.18.0.2:7700]",
)
@click.option(
    "--to", help="where the edge is  [default: tcp://127.0.0.1:7700, or tcp://198.18.0.1:7700]"
)
@click.option("--down", default="none", show_default=True, help="trace to the device; none: no cap")
@click.option("--delay-ms", default=10.0, show_default=True, help="one-way delay each way, in ms")
@click.option("--stall", "stalls", multiple=True, metavar="START:SECONDS", help="nothing moves")
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="AT[:SECONDS]",
    help="close and refuse connections; of packets: lose all",
)
@click.option("--loop/--once", default=True, show_default=True, help="start TRACE again, or close")
@click.option(
    "--queue-bytes", default=65536, show_default=True, help="what may wait in each direction"
)
@click.option(
    "--packets", is_flag=True, help="carry TCP's packets, over a TUN device (Linux, as root)"
)
@click.option(
    "--loss-percent", default=0.0, show_default=True, help="of the packets that get lost each way"
)
@click.option("--insecure", is_flag=True, help="allow to listen beyond loopback")
def link(
    trace: str,
    listen: str | None,
    to: str | None,
    down: str,
    delay_ms: float,
    stalls: tuple[str, ...],
    cuts: tuple[str, ...],
    loop: bool,
    queue_bytes: int,
    packets: bool,
    loss_percent: float,
    insecure: bool,
) -> None:
    """Relay TCP at the rate of TRACE until told to stop (SIGINT or SIGTERM).

    TRACE is a file (CSV `t_s,mbps` or mahimahi) or a built-in name: `demo`, `steady:8` for 8
    Mbit/s. Point the device's --edge at --listen. The trace starts with the first connection.

    With --packets the kernel's TCP runs through the link itself: a full queue drops its packets,
    and some get lost. --to becomes an address of this machine while the link runs, so start the
    edge after it, with --bind there and --insecure. Without root: start all in `unshare -rn sh`.
    """
    from headgate.runtime.commands.logs import log_to_stderr
    from headgate.runtime.device.aside import StoppedError, run_aside
    from headgate.runtime.signals import StopWish, stopping_on_signals

    wish = StopWish()
    with stopping_on_signals(wish.make):  # a long trace takes a while to read
        listen_address, to_address = _addresses(listen, to, packets=packets, insecure=insecure)
        _refuse_loss(loss_percent, packets=packets)

        def read_plan() -> LinkPlan:
            return _plan(trace, down, delay_ms, stalls, cuts, loop=loop, queue_bytes=queue_bytes)

        try:  # a named pipe may wait for its writer for ever
            plan = run_aside(read_plan, timeout_s=None, is_stopped=wish.is_made)
        except StoppedError:
            click.echo(f"{trace}: stopped before it was read", err=True)
            return
        log_to_stderr()
        opened = _opened(
            listen_address, to_address, plan, loss=loss_percent / 100 if packets else None
        )
        with opened:
            wish.goes_to(opened.request_stop)
            ready = {"endpoint": opened.endpoint, "to": opened.to, "trace": trace}
            click.echo(json.dumps({"event": "listening", **ready}), err=True)
            opened.wait()


def _opened(listen: Address, to: Address, plan: LinkPlan, *, loss: float | None) -> LinkThread:
    """Return a relay, or with a `loss` a link of packets."""
    from headgate.runtime.emulator.packet_link import PacketLink
    from headgate.runtime.emulator.relay import Relay

    if loss is None:
        return Relay(listen=listen, to=to, plan=plan)
    return PacketLink(listen=listen, to=to, plan=plan, loss=loss)


def _addresses(
    listen: str | None, to: str | None, *, packets: bool, insecure: bool
) -> tuple[Address, Address]:
    """Return where the device connects and where the edge is, or raise what is wrong with them."""
    from headgate.runtime.emulator.link_thread import endpoint_of
    from headgate.runtime.emulator.packet_link import DEFAULT_LISTEN, DEFAULT_TO

    if packets:
        listen, to = listen or endpoint_of(DEFAULT_LISTEN), to or endpoint_of(DEFAULT_TO)
    else:
        listen, to = listen or "tcp://127.0.0.1:7701", to or "tcp://127.0.0.1:7700"
    listen_address, to_address = parse_address("--listen", listen), parse_address("--to", to)
    if to_address[1] == 0:
        raise UsageError(f"--to {to}: nobody listens on port 0; give the edge's port")
    if not packets:
        refuse_beyond_loopback(listen, insecure=insecure)
    return listen_address, to_address


def _refuse_loss(loss_percent: float, *, packets: bool) -> None:
    """Raise UsageError for what is no share, and for losses where nothing can get lost."""
    if not 0 <= loss_percent <= 100:
        raise UsageError(
            f"--loss-percent {loss_percent:g}: expected 0 to 100, as in --loss-percent 1"
        )
    if loss_percent and not packets:
        raise UsageError(
            f"--loss-percent {loss_percent:g}: a relay carries the bytes of TCP and cannot lose "
            "any; add --packets, or leave it out"
        )


def _plan(
    trace: str,
    down: str,
    delay_ms: float,
    stalls: tuple[str, ...],
    cuts: tuple[str, ...],
    *,
    loop: bool,
    queue_bytes: int,
) -> LinkPlan:
    """Return what the options ask for, or raise what is wrong with them."""
    from headgate.profiles.trace_files import open_trace
    from headgate.runtime.emulator.link_thread import LinkPlan

    if not 0 <= delay_ms <= MAX_DELAY_MS or queue_bytes < 1:
        raise UsageError(
            f"--delay-ms {delay_ms:g} --queue-bytes {queue_bytes}: expected a delay of 0 to "
            f"{MAX_DELAY_MS:g} ms and a queue of 1 byte or more"
        )
    return LinkPlan(
        uplink=open_trace(trace),
        downlink=None if down == "none" else open_trace(down),
        delay_s=delay_ms / 1000,
        stalls=tuple(parse_window("--stall", text, default_s=None) for text in stalls),
        cuts=tuple(parse_window("--cut", text, default_s=0.001) for text in cuts),
        loop=loop,
        queue_bytes=queue_bytes,
    )


def parse_window(option: str, text: str, *, default_s: float | None) -> Window:
    """Read START:SECONDS; without a default the seconds must be said."""
    from headgate.runtime.emulator.shaper import Window

    start, colon, seconds = text.partition(":")
    try:
        start_s = float(start)
        duration_s = float(seconds) if colon or default_s is None else default_s
    except ValueError:
        start_s, duration_s = -1.0, -1.0
    if not (0 <= start_s <= FOREVER_S and 0 < duration_s <= FOREVER_S):
        expected = "START:SECONDS" if default_s is None else "AT or AT:SECONDS"
        raise UsageError(
            f"{option} {text!r}: expected {expected}, seconds after the first connection "
            f"and a length above 0, as in `{option} 20:3`"
        )
    return Window(start_s, duration_s)


def parse_address(option: str, text: str) -> Address:
    """Read tcp://HOST:PORT; an IPv6 host stands in brackets."""
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    # No digits but these: others are ports to some programs and errors to int().
    good = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535
    if not text.startswith("tcp://") or not host or not good:
        raise UsageError(
            f"{option} {text!r}: expected tcp://HOST:PORT, as in tcp://127.0.0.1:7701; "
            "a link relays TCP only"
        )
    return host.strip("[]"), int(port)


def refuse_beyond_loopback(endpoint: str, *, insecure: bool) -> None:
    """The relay passes bytes on for anyone who connects, so it stays on this machine."""
    from headgate.runtime.sockets.keys import is_local

    if not insecure and not is_local(endpoint):
        raise UsageError(
            f"--listen {endpoint}: is open to other machines, and a link asks nobody for a key; "
            "listen on 127.0.0.1, or say --insecure"
        )
