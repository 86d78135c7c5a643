"""Claims about what an edge tells its operator while it runs."""

from dataclasses import replace

from headgate.runtime.edge.edge_tally import EdgeStats, EdgeTally
from headgate.runtime.edge.edge_watch import MAX_KEPT, MAX_NAMED, EdgeWatch
from headgate.runtime.wire.messages import RejectReason


def stats(tally: EdgeTally | None = None) -> EdgeStats:
    tally = tally or EdgeTally()
    return tally.snapshot(num_peers=1, frames_queued=2, busy_share=0.9, reference_bytes=0)


def watching(*names: str) -> EdgeWatch:
    """Return a watch that counts from 100 s, with these devices on connections b"0", b"1" ..."""
    watch = EdgeWatch()
    watch.start(stats(), now_s=100.0)
    for number, name in enumerate(names):
        watch.welcomed(str(number).encode(), name, family="f00", now_s=100.0)
    return watch


def test_device_is_named_when_it_comes_and_when_it_is_gone() -> None:
    watch = watching()
    assert watch.next_timer_s() is None  # an edge that nobody uses sleeps
    assert watch.welcomed(b"x", "cam-1", family="f00", now_s=101.0) == (
        "cam-1: connected, family f00"
    )
    assert watch.name(b"x") == "cam-1"
    assert watch.name(b"y") == "79"  # its identity in hex
    assert watch.next_timer_s() == 106.0
    assert watch.look(stats(), {b"x": 101.0}, now_s=106.0) == []
    assert watch.look(stats(), {}, now_s=111.0) == ["cam-1: gone"]
    assert watch.next_timer_s() is None


def test_second_connection_of_a_device_is_not_another_device() -> None:
    watch = watching("cam-1")
    line = watch.welcomed(b"second", "cam-1", family="f00", now_s=102.0)
    assert line == "cam-1: connected anew, family f00"
    assert watch.look(stats(), {b"second": 102.0}, now_s=107.0) == []


def test_each_minute_is_summed_up_by_itself() -> None:
    watch = watching("cam-1", "cam-2")
    tally = EdgeTally(frames_received=600, frames_answered=590, busy_s=15.0, queue_s=5.9)
    tally.frames_rejected[RejectReason.BUSY] = 10
    there = {b"0": 100.0, b"1": 100.0}
    assert watch.look(stats(tally), there, now_s=159.0) == []
    (line,) = watch.look(stats(tally), there, now_s=160.0)
    assert line.startswith(
        "last 60 s: devices=2 names=cam-1,cam-2 busy_share=0.250 frames_queued=2 "
        "frames_received=600 frames_answered=590 rejected=busy:10 "
    )
    assert "mean_queue_s=0.010000" in line
    tally.frames_received += 30
    tally.busy_s += 30.0
    (line,) = watch.look(stats(tally), there, now_s=220.0)
    assert "busy_share=0.500 frames_queued=2 frames_received=30 frames_answered=0 " in line
    assert "rejected=none" in line
    assert watch.look(stats(tally), there, now_s=280.0) == []  # nothing happened in it


def test_last_device_to_go_is_followed_by_what_there_was_to_do() -> None:
    watch = watching("cam-1")
    lines = watch.look(stats(EdgeTally(frames_received=7)), {}, now_s=110.0)
    assert lines[0] == "cam-1: gone"
    assert lines[1].startswith("last 10 s: devices=0 names=none ")
    assert "frames_received=7" in lines[1]


def test_many_devices_do_not_make_an_endless_line() -> None:
    watch = watching(*(f"cam-{number:03d}" for number in range(MAX_NAMED + 5)))
    assert len(watch.names) == MAX_NAMED + 5
    there = dict.fromkeys(watch.names, 100.0)
    (line,) = watch.look(stats(EdgeTally(frames_received=1)), there, now_s=160.0)
    assert "devices=21 " in line
    assert "cam-015,... " in line
    assert "cam-016" not in line


def test_devices_that_come_again_and_again_do_not_fill_the_log() -> None:
    watch = watching()
    lines = [
        watch.welcomed(bytes([number]), "cam-1", family="f00", now_s=100.0) for number in range(99)
    ]
    assert sum(line is not None for line in lines) == 8


def test_names_of_peers_that_come_and_go_all_the_time_are_bounded() -> None:
    watch = watching()
    for number in range(MAX_KEPT + 5):
        watch.welcomed(number.to_bytes(4, "big"), f"cam-{number}", family="f00", now_s=100.0)
    assert len(watch.names) == MAX_KEPT
    lines = watch.look(stats(), {b"\0\0\0\7": 100.0}, now_s=110.0)
    assert len(lines) <= 8
    assert lines[0] == "cam-0: gone"
    assert watch.names == {b"\0\0\0\7": "cam-7"}
    watch.welcomed(b"y", "cam-8", family="f00", now_s=120.0)
    assert watch.name(b"y") == "cam-8"


def test_counts_since_an_earlier_moment_leave_out_reasons_that_did_not_come() -> None:
    tally = EdgeTally(frames_received=5, payload_bytes=50)
    tally.frames_rejected[RejectReason.BUSY] = 3
    before = stats(tally)
    tally.frames_received += 2
    tally.frames_rejected[RejectReason.EXPIRED] = 1
    since = stats(tally).since(before)
    assert (since.frames_received, since.payload_bytes) == (2, 0)
    assert dict(since.frames_rejected) == {RejectReason.EXPIRED: 1}
    assert (since.num_peers, since.frames_queued) == (1, 2)
    assert replace(before).since(before).frames_received == 0


ONE, OTHER = b"d" + b"1" * 16, b"d" + b"2" * 16  # the names of two devices


def test_two_devices_with_one_key_are_told_of_once_both_speak() -> None:
    watch = watching()
    for device, now_s in ((ONE, 100.0), (OTHER, 103.0)):
        watch.welcomed(device + b"0", "cam-1", family="f00", now_s=now_s)
    heard_s = {ONE + b"0": 104.9, OTHER + b"0": 105.0}
    assert watch.look(stats(), heard_s, now_s=105.0) == []  # the first may have begun anew
    heard_s = {ONE + b"0": 114.9, OTHER + b"0": 115.0}
    (line,) = watch.look(stats(), heard_s, now_s=115.0)
    assert line.startswith("cam-1: 2 devices use this key at once; ")
    heard_s = {ONE + b"0": 119.9, OTHER + b"0": 120.0}
    assert watch.look(stats(), heard_s, now_s=120.0) == []
    assert watch.look(stats(), {OTHER + b"0": 125.0}, now_s=125.0) == []


def test_a_device_that_begins_anew_or_connects_anew_is_not_two_devices() -> None:
    watch = watching()
    for place, identity in enumerate((ONE + b"0", ONE + b"1", OTHER + b"0")):
        watch.welcomed(identity, "cam-1", family="f00", now_s=100.0 + place)
    heard_s = {ONE + b"0": 150.0, ONE + b"1": 150.0, OTHER + b"0": 102.0}
    assert watch.look(stats(), heard_s, now_s=150.0) == []


def test_a_strangers_long_identity_is_cut() -> None:
    assert watching().name(b"\xab" * 255) == 18 * "ab" + "..."
    assert watching().name(ONE + b"0") == (ONE + b"0").hex()
