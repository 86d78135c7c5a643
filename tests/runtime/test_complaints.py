"""Which complaints are logged."""

from headgate.runtime.complaints import Changes, Complaints


def test_a_flood_of_complaints_is_a_few_lines_and_the_next_one_counts_the_rest() -> None:
    complaints = Complaints()
    said = [complaints.say("bad", now_s=5.0 + i / 10_000) for i in range(10_000)]
    assert [line for line in said if line] == ["bad"] * 8
    assert complaints.say("worse", now_s=30.0) == "worse (and 9992 more like it before)"
    assert complaints.say("worse", now_s=31.0) == "worse"


def test_complaints_that_are_rare_are_all_logged() -> None:
    complaints = Complaints()
    assert all(complaints.say("bad", now_s=11.0 * i) == "bad" for i in range(100))


def test_a_state_that_changes_all_the_time_is_a_few_lines_and_the_last_one_is_said() -> None:
    changes, lines = Changes(), []
    for i in range(1000):
        lines.append(changes.now(f"state {i}", now_s=5.0 + i / 100))
        assert changes.look(now_s=5.0 + i / 100) is None
    said = [line for line in lines if line]
    assert said[:8] == [f"state {i}" for i in range(8)]
    assert len(said) <= 9
    assert changes.look(now_s=40.0) == "state 999 (after 991 changes)"
    assert changes.look(now_s=80.0) is None
    assert changes.now("state 1000", now_s=80.0) == "state 1000"
