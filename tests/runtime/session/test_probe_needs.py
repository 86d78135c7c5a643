"""What probes are wanted for after a choice."""

import math
from dataclasses import replace

import pytest

from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import Profile
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.records import Estimate
from headgate.runtime.session.probe_needs import LEAST_PROBE_BYTES, ProbeNeeds
from headgate.runtime.session.probing import LOCAL_PROBE_BYTES
from runtime.ladders import progressive_manifest


def after_choice(manifest: Manifest, mbps: float) -> ProbeNeeds:
    """The needs after one choice on a link that is sure to be so fast."""
    controller = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=manifest.points,
        sla_s=0.1,
    )
    forecast = Forecast(math.log(mbps * 1e6), (0.0,))
    outlook = Outlook(0.0, 0.02, forecast, ahead_bytes=0, busy_since_s=0.0, age_s=0.0)
    needs = ProbeNeeds(controller)
    needs.captured(now_s=0.0)
    needs.chose(controller.choose(Situation(0.0, 0.0, outlook)), outlook)
    return needs


@pytest.mark.parametrize("local", [True, False])
def test_probes_keep_watch_while_not_even_a_first_layer_is_worth_sending(local: bool) -> None:
    need = after_choice(progressive_manifest(local=local), 0.05).now()
    assert need is not None
    assert need.local_bytes > 0


def test_frames_that_are_sent_are_probe_enough() -> None:
    need = after_choice(progressive_manifest(), 10.0).now()
    assert need is not None
    assert need.local_bytes == 0
    assert need.until_s == pytest.approx(1.0)


def test_frame_that_was_kept_back_is_watched_for_as_one_answered_here() -> None:
    needs = after_choice(progressive_manifest(), 10.0)
    needs.kept_back()
    need = needs.now()
    assert need is not None
    assert need.local_bytes > 0


def test_nothing_is_wanted_before_the_first_frame() -> None:
    manifest = progressive_manifest()
    controller = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=manifest.points,
        sla_s=0.1,
    )
    assert ProbeNeeds(controller).now() is None


@pytest.mark.parametrize(
    ("mbps", "num_bytes"), [(0.004, LEAST_PROBE_BYTES), (0.032, 200), (0.1, 625), (1.0, 1000)]
)
def test_probes_in_place_of_frames_take_little_of_the_links_time(
    mbps: float, num_bytes: int
) -> None:
    needs = after_choice(progressive_manifest(), mbps)
    needs.kept_back()
    need = needs.now()
    assert need is not None
    assert need.local_bytes == pytest.approx(num_bytes, abs=1)


def test_where_messages_wait_for_a_turn_a_probe_is_not_made_smaller() -> None:
    forecast = Forecast(math.log(0.016e6), (0.0,))
    outlook = Outlook(
        0.0, 0.02, forecast, 0, 0.0, 0.0, timing=replace(forecast, floor_bytes=1500.0)
    )
    needs = after_choice(progressive_manifest(), 0.016)
    needs.chose(Choice(None, Estimate()), outlook)
    need = needs.now()
    assert need is not None
    assert need.local_bytes == LOCAL_PROBE_BYTES
