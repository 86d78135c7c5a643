"""A live view of a running device on a terminal: what it sends, and whether answers are on time."""

from collections import deque
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from headgate.runtime.complaints import printable
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.frame_fate import UNREADABLE
from headgate.runtime.session.summary import Tally, sent_text

BARS = "▁▂▃▄▅▆▇█"
SHOWN_FRAMES = 60  # the last ones, a bar each
REFRESHES_PER_S = 4
LABEL_WIDTH = 8
TWO_FACTS_WIDTH = 60  # less, and each has a line of its own
FRAME_WIDTH = 4  # of the panel's border and its padding
# Reasons of frames that ended before there was a choice.
NEVER_STARTED = ("superseded", "too late to start", UNREADABLE)


def sparkline(values_s: list[float | None], *, sla_s: float | None) -> Text:
    """Draw latencies as bars, those above the SLA red, unanswered frames as dots.

    The full height is twice the SLA, or the largest value where there is none.
    """
    known = [value for value in values_s if value is not None]
    top_s = 2 * sla_s if sla_s else max(known, default=1.0)
    text = Text()
    for value in values_s:
        if value is None:
            text.append("·", style="red")
            continue
        bar = BARS[min(len(BARS) - 1, int(len(BARS) * value / max(top_s, 1e-9)))]
        late = sla_s is not None and value > sla_s
        text.append(bar, style="red" if late else "green")
    return text


class LiveView:
    """Shows the last frames; refreshed by a thread of rich's, fed from the main thread.

    Feeding only keeps references: drawing costs the frames nothing but the interpreter's lock,
    four times a second.
    """

    def __init__(self, *, title: str, console: Console | None = None) -> None:
        self._title = Text(title)  # no markup: a path or a name may hold brackets
        self._tally = Tally()
        self._recent: deque[FrameRecord] = deque(maxlen=SHOWN_FRAMES)
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        )

    def add(self, record: FrameRecord) -> None:
        self._tally.add(record)
        self._recent.append(record)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def render(self) -> Panel:
        """Return the view of this moment."""
        recent = list(self._recent.copy())
        # Some columns are left free: if the ^C that a terminal echoes began a line of its own,
        # the view could not be wiped.
        width = self._console.width - FRAME_WIDTH - 3
        if not recent:
            return Panel("waiting for the first frame", title=self._title)
        last = recent[-1]
        latencies_s = [
            None if record.source is Source.NONE else record.stages.total_s for record in recent
        ]
        summary = self._tally.summary()
        chosen = _last_chosen(recent)
        rate = chosen.estimate.rate_bps
        counts = ", ".join(f"{name} {count}" for name, count in summary.by_source.items())
        sla = "none" if last.sla_s is None else f"{1000 * last.sla_s:.0f} ms"
        within = summary.within_sla / max(1, summary.frames)
        facts = (  # with answer, bytes and latency they fit into ten lines, one to a line
            ("uplink", "cannot send now" if rate is None else f"{rate / 1e6:.2f} Mbit/s"),
            ("SLA", f"{sla}, {within:.1%} within"),
            ("point", chosen.point or "none"),
            ("profile", last.profile),
            ("frames", f"{summary.frames} ({counts})"),
        )
        shown = max(8, width - LABEL_WIDTH - len(" 1000 ms"))
        bars = sparkline(latencies_s[-shown:], sla_s=last.sla_s)
        latency = Text.assemble((f"{'latency':{LABEL_WIDTH}}", "bold"), bars)
        latency.append(_ms(latencies_s[-1]))
        sent = Text.assemble((f"{'sent':{LABEL_WIDTH}}", "bold"), sent_text(summary))
        answer = Text.assemble((f"{'answer':{LABEL_WIDTH}}", "bold"), _answer(last))
        answer.truncate(width, overflow="ellipsis")
        lines = Group(_rows(facts, width=width), answer, sent, latency)
        return Panel(lines, title=self._title, width=width + FRAME_WIDTH)


def _rows(facts: Sequence[tuple[str, str]], *, width: int) -> Table:
    """Return labels and values, two of each to a line where there is room."""
    a_line = 2 if width >= TWO_FACTS_WIDTH else 1
    rows = Table.grid(padding=(0, 1))
    for place in range(a_line):
        label_width = max(len(label) for label, _ in facts[place::a_line])
        rows.add_column(style="bold", no_wrap=True, min_width=label_width)
        rows.add_column(no_wrap=True)
    for first in range(0, len(facts), a_line):
        # No markup: a name may hold brackets.
        rows.add_row(*(Text(text) for fact in facts[first : first + a_line] for text in fact))
    return rows


def _last_chosen(recent: list[FrameRecord]) -> FrameRecord:
    """Return the newest frame for which a choice was made, if any: others know no link.

    A device that is slower than its source supersedes every other frame, so a view of the very
    last one would flicker.
    """
    chosen = (record for record in reversed(recent) if record.reason not in NEVER_STARTED)
    return next(chosen, recent[-1])


def _answer(record: FrameRecord) -> str:
    """Say what the newest frame was answered, and how likely that is; else why it was not."""
    if record.label_name is None:
        return printable(f"none: {record.reason}")
    score = "" if record.score is None else f" ({100 * record.score:.0f} %)"
    return printable(record.label_name) + score


def _ms(latency_s: float | None) -> str:
    return "" if latency_s is None else f" {1000 * latency_s:.0f} ms"
