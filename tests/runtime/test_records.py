"""Frame records as JSON lines, and the summary of a run."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import DataError
from headgate.runtime.records import (
    Estimate,
    FrameRecord,
    Source,
    Stages,
    record_from_json,
    record_from_line,
)

RECORD = FrameRecord(
    frame_id=412,
    captured_s=13.733,
    source=Source.EDGE,
    reason="edge",
    point="b4r1-l16",
    kind="split",
    num_bytes=386,
    stages=Stages(0.0002, 0.0021, 0.0003, 0.0249, 0.0004, 0.0001, 0.0048, 0.033),
    sla_s=0.1,
    deadline_met=True,
    label=7,
    label_name="seven",
    score=0.9312,
    correct=True,
    quality=0.934,
    profile="balanced",
    estimate=Estimate(3.1e6, 0.0214, 0.993),
    answered_point="b4r1-l16",
)
UNANSWERED = replace(
    RECORD,
    source=Source.NONE,
    reason="superseded",
    point=None,
    kind=None,
    num_bytes=0,
    stages=Stages(total_s=0.033),
    sla_s=None,
    deadline_met=False,
    label=None,
    label_name=None,
    score=None,
    correct=None,
    quality=0.0,
    estimate=Estimate(),
    answered_point=None,
)

short_s = st.none() | st.integers(0, 10**7).map(lambda us: us / 1e6)
records = st.builds(
    FrameRecord,
    frame_id=st.integers(0, 2**32 - 2),
    captured_s=st.integers(0, 10**12).map(lambda us: us / 1e6),
    source=st.sampled_from(Source),
    reason=st.text(max_size=20),
    point=st.none() | st.text(max_size=10),
    kind=st.none() | st.sampled_from(["split", "offload", "local"]),
    num_bytes=st.integers(0, 2**31),
    stages=st.builds(Stages, *[short_s] * 8),
    sla_s=short_s,
    deadline_met=st.booleans(),
    label=st.none() | st.integers(0, 1000),
    label_name=st.none() | st.text(max_size=10),
    score=st.none() | st.integers(0, 10**4).map(lambda n: n / 1e4),
    correct=st.none() | st.booleans(),
    quality=st.integers(0, 10**6).map(lambda n: n / 1e6),
    profile=st.text(max_size=10),
    estimate=st.builds(
        Estimate,
        rate_bps=st.none() | st.integers(1, 10**6).map(lambda n: n * 1e3),
        delay_s=short_s,
        on_time=st.none() | st.integers(0, 1000).map(lambda n: n / 1e3),
    ),
    answered_point=st.none() | st.text(max_size=10),
)


@given(record=records)
def test_record_survives_its_line(record: FrameRecord) -> None:
    line = record.to_line()
    assert "\n" not in line
    again = record_from_line(line, where="frames.jsonl line 1")
    assert again.to_line() == line
    assert replace(again, captured_s=0.0, stages=Stages(), sla_s=None, estimate=Estimate()) == (
        replace(record, captured_s=0.0, stages=Stages(), sla_s=None, estimate=Estimate())
    )
    assert again.captured_s == pytest.approx(record.captured_s)


def test_line_holds_the_documented_keys_in_milliseconds() -> None:
    value = json.loads(RECORD.to_line())
    assert list(value) == [
        "schema",
        "frame",
        "captured_s",
        "source",
        "reason",
        "point",
        "kind",
        "bytes",
        "ms",
        "sla_ms",
        "deadline_met",
        "label",
        "label_name",
        "score",
        "correct",
        "quality",
        "answered_point",
        "profile",
        "estimate",
    ]
    assert value["ms"] == {
        "wait": 0.2,
        "head": 2.1,
        "encode": 0.3,
        "uplink": 24.9,
        "queue": 0.4,
        "decode": 0.1,
        "tail": 4.8,
        "total": 33.0,
    }
    assert value["estimate"] == {"mbps": 3.1, "delay_ms": 21.4, "on_time": 0.993}


def test_frame_that_nobody_answered_survives_its_line() -> None:
    assert record_from_line(UNANSWERED.to_line(), where="x") == UNANSWERED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, r"frames line 3.schema: is 3, this version reads up to 2"),
        ({"schema": None}, "schema: is None"),
        ({"colour": "red"}, r"unknown keys 'colour'"),
        ({"source": "cloud"}, "'cloud' is not one of"),
        ({"bytes": 1.5}, "bytes: expected a whole number"),
        ({"ms": {}}, "ms: misses keys .*; add them"),
    ],
)
def test_malformed_record_is_refused_with_its_place(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        record_from_json(RECORD.to_json() | change, where="frames line 3")


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_line_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="frames line 3"):
        record_from_line(text, where="frames line 3")


def test_line_of_schema_1_is_read_and_names_no_answered_point() -> None:
    value = RECORD.to_json()
    del value["answered_point"]
    again = record_from_json({**value, "schema": 1}, where="frames line 1")
    assert (again.point, again.quality, again.answered_point) == ("b4r1-l16", 0.934, None)
