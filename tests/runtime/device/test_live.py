import io
from dataclasses import replace

from rich.console import Console

from headgate.runtime.device.live import SHOWN_FRAMES, LiveView, sparkline
from headgate.runtime.records import Estimate, Source
from runtime.device.test_sinks import record


def test_bars_grow_with_latency_and_late_ones_are_red() -> None:
    text = sparkline([0.01, 0.1, 0.19, None, 9.0], sla_s=0.1)
    assert text.plain[0] < text.plain[1] < text.plain[2] == text.plain[4]
    assert text.plain[3] == "·"
    assert [str(span.style) for span in text.spans] == ["green", "green", "red", "red", "red"]


def test_without_an_sla_the_largest_latency_is_the_full_height() -> None:
    assert sparkline([0.0, 5.0], sla_s=None).plain == "▁█"
    assert sparkline([], sla_s=None).plain == ""


def test_the_view_shows_bandwidth_point_counts_and_share_within_the_sla() -> None:
    view = LiveView(title="clip", console=Console(file=io.StringIO(), width=100))
    out = io.StringIO()
    Console(file=out, width=100).print(view.render())
    assert "waiting for the first frame" in out.getvalue()
    for frame_id in range(SHOWN_FRAMES):
        view.add(record(frame_id))
    for frame_id in range(SHOWN_FRAMES):
        view.add(record(frame_id, source=Source.NONE))
    Console(file=out, width=100).print(view.render())
    text = out.getvalue()
    for shown in ("2.00 Mbit/s", "b3r1-l16", "100 ms", "120 (", "edge 60", "none 60", "50.0%"):
        assert shown in text
    assert "·" * SHOWN_FRAMES in text


def test_the_view_fits_80_columns_and_leaves_room_for_an_echoed_interrupt() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    view = LiveView(title="clip", console=console)
    for frame_id in range(SHOWN_FRAMES):
        view.add(record(frame_id, total_s=1.0))
    console.print(view.render())
    assert max(map(len, out.getvalue().splitlines())) <= 80 - len("^C")
    assert "1000 ms" in out.getvalue()
    assert "…" not in out.getvalue()


def test_the_view_of_a_narrow_terminal_has_a_line_for_each_fact() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40)
    view = LiveView(title="clip", console=console)
    view.add(record(0))
    console.print(view.render())
    lines = [line.strip("│ ") for line in out.getvalue().splitlines()]
    assert len(lines) <= 10
    for shown in (
        "uplink  2.00 Mbit/s", "SLA     100 ms, 100.0% within", "point   b3r1-l16",
        "profile balanced",
    ):  # fmt: skip
        assert shown in lines


def test_the_view_shows_brackets_in_paths_and_profiles_as_they_are() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100)
    view = LiveView(title="dir:/a[/b]", console=console)
    console.print(view.render())
    view.add(replace(record(0), profile="[/night]"))
    console.print(view.render())
    assert out.getvalue().count("dir:/a[/b]") == 2
    assert "[/night]" in out.getvalue()


def test_the_view_does_not_flicker_with_frames_that_end_before_there_is_a_choice() -> None:
    out = io.StringIO()
    view = LiveView(title="clip", console=Console(file=out, width=80))
    view.add(record(0))
    never = replace(record(1, source=Source.NONE), point=None, kind=None, estimate=Estimate())
    for reason in ("superseded", "too late to start", "picture unreadable"):
        view.add(replace(never, reason=reason))
        Console(file=out, width=80).print(view.render())
    assert out.getvalue().count("2.00 Mbit/s") == out.getvalue().count("b3r1-l16") == 3


def test_the_view_says_that_nothing_can_be_sent_while_there_is_no_edge() -> None:
    out = io.StringIO()
    view = LiveView(title="clip", console=Console(file=out, width=80))
    view.add(record(0))
    none = replace(record(1, source=Source.NONE), point=None, kind=None, estimate=Estimate())
    view.add(replace(none, reason="no edge"))
    Console(file=out, width=80).print(view.render())
    assert "uplink cannot send now" in out.getvalue()
    assert "point  none" in out.getvalue()


def test_the_view_shows_the_newest_answer_and_why_there_is_none() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    view = LiveView(title="clip", console=console)
    view.add(replace(record(0), label_name="a" * 90, score=0.93, num_bytes=101))
    console.print(view.render())
    assert "a…" in out.getvalue()
    assert "101 B a frame" in out.getvalue()
    view.add(replace(record(1), label_name="[red]", score=0.93))
    console.print(view.render())
    assert "answer  [red] (93 %)" in out.getvalue()
    view.add(replace(record(1), label_name="a\x1b[2J\nb", score=0.93))
    console.print(view.render())
    assert "answer  a?[2J?b (93 %)" in out.getvalue()
    view.add(replace(record(2), source=Source.NONE, reason="no edge", label_name=None))
    console.print(view.render())
    assert "answer  none: no edge" in out.getvalue()
