"""The device's shell: source, compute thread and uplink around a `DeviceSession`.

The main thread waits in one poller for the edge, for finished computations, for new pictures and
for the control socket, tells the session, and does what it says. Heads run on a thread of their
own, so that answers are taken and deadlines kept meanwhile (onnxruntime releases the GIL), unless
they are shorter than the hand-over.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import zmq

from headgate.profiles.errors import HeadgateError, WireError
from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.complaints import Changes, Complaints
from headgate.runtime.device import control
from headgate.runtime.device.compute_thread import ComputeThread, HeadBackend
from headgate.runtime.device.edge_link import EdgeLink
from headgate.runtime.device.picture_source import Picture, PictureSource
from headgate.runtime.device.playback import Captured, Playback, Player
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Answer, Complain, Compute, Deliver, Effect, Send
from headgate.runtime.session.frame_fate import SessionSettings
from headgate.runtime.session.greeting import Refusal
from headgate.runtime.session.skipping import SkipRule
from headgate.runtime.session.summary import Summary, Tally
from headgate.runtime.sockets.edge_socket import LinkEvent
from headgate.runtime.sockets.keys import Authenticator, Context, DeviceKeys
from headgate.runtime.wakeup import Wakeup, poll_timeout_ms
from headgate.runtime.wire.headers import DEFAULT_LIMITS

log = logging.getLogger(__name__)

# Pictures that can wait are kept back so long for the edge to be there: a small set would else be
# answered locally before the first handshake is through.
EDGE_HEAD_START_S = 1.0
MESSAGES_PER_TURN = 64  # then frames and timers have their turn, whatever an edge sends


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """How one run of a device behaves."""

    edge: str
    profile: Profile
    sla_s: float  # where the profile names none
    playback: Playback = field(default_factory=Playback)
    keys: DeviceKeys | None = None
    keys_folder: Path | None = None  # admits who may control over TCP
    control: str | None = None  # None: an ipc address of its own
    skip: SkipRule | None = None  # split frames that need not be sent; None: all are


class Device:
    """One run: from opening the sockets to the summary."""

    def __init__(
        self,
        manifest: Manifest,
        backend: HeadBackend,
        source: PictureSource,
        settings: DeviceSettings,
        *,
        deliver: Callable[[FrameRecord, Answer | None], None],
    ) -> None:
        """`deliver` gets every record on the main thread; it must return at once."""
        self._manifest, self._settings = manifest, settings
        self._deliver = deliver
        profile = with_sla(settings.profile, sla_s=settings.sla_s)
        points = allowed_points(profile, manifest)
        self._wakeup = Wakeup()
        self._player = Player(source, settings.playback, on_frame=self._wakeup.set)
        self._session = DeviceSession(
            manifest=manifest,
            profile=profile,
            points=points,
            source_waits=self._player.on_demand,
            settings=SessionSettings(skip=settings.skip),
        )
        self._state = control.State(
            profile=profile,
            from_frame=0,
            next_frame=0,
            points=tuple(point.id for point in points),
            has_edge=False,
            family=manifest.digest,
        )
        self._tally = Tally()
        self._pictures: dict[int, Picture] = {}
        self._next_frame_id = 0
        self._stopping = self._closed = False
        self._head_start_s = 0.0
        self._compute = ComputeThread(backend, on_done=self._wakeup.set)
        self._context: Context = zmq.Context()
        self._authenticator = self._open_authenticator()
        try:
            self._control = control.ControlServer(
                self._context,
                settings.control or control.default_address(),
                own=settings.keys.own if settings.keys else None,
            )
        except HeadgateError:
            self._close_context()
            raise
        self._edge = EdgeLink(
            self._context,
            settings.edge,
            keys=settings.keys,
            max_part_bytes=DEFAULT_LIMITS.max_part_bytes,
        )
        self._complaints, self._faults = Complaints(), Complaints()  # of messages, of pictures
        self._link_news = Changes()
        self._refusal_said: Refusal | None = None

    @property
    def control_address(self) -> str:
        return self._control.address

    @property
    def stopped(self) -> bool:
        """Whether the run was told to end before its source did."""
        return self._stopping

    def stop(self) -> None:
        """End the run soon; safe from any thread and from a signal handler."""
        self._stopping = True
        self._wakeup.set()

    def summary(self) -> Summary:
        """Return what was delivered so far."""
        return self._tally.summary()

    def run(self) -> None:
        """Play the source to its end, or until `stop`; then every frame has its record.

        Raises the source's error if it failed, and WireError if the edge refused this device for
        good, but only once every picture has been answered as well as could be.
        """
        poller = zmq.Poller()
        poller.register(self._control.socket, zmq.POLLIN)
        poller.register(self._wakeup, zmq.POLLIN)
        finishing = has_more = False
        try:
            self._compute.start()
            self._edge.connect(poller)
            self._player.start()
            self._head_start_s = time.monotonic() + EDGE_HEAD_START_S
            while not self._session.drained:
                timer_s = self._next_timer_s()
                timeout_ms = poll_timeout_ms(timer_s, now_s=time.monotonic())
                ready = dict(poller.poll(0 if has_more else timeout_ms))
                if self._wakeup.fileno() in ready:
                    self._wakeup.clear()
                self._take_computed()
                if self._edge.dealer in ready:
                    self._take_messages()
                if any(monitor in ready for monitor in self._edge.monitors):
                    self._take_link_events(self._edge.events(now_s=time.monotonic()))
                self._look_after_link()
                now_s = time.monotonic()
                if timer_s is not None and timer_s <= now_s:
                    self._obey(self._session.handle_timer(now_s=now_s))
                # After all that may have made room for a picture: nothing else may wake us for it.
                has_more = not self._player.ended and self._take_frames()
                if self._control.socket in ready:
                    self._control.answer(show=self._show, switch=self._switch)
                if not finishing and (self._stopping or self._player.ended):
                    finishing, now_s = True, time.monotonic()
                    self._obey(self._session.finish(now_s=now_s, at_once=self._stopping))
                elif finishing and self._stopping:
                    self._obey(self._session.finish(now_s=time.monotonic(), at_once=True))
        except Exception:
            # Whatever it is: no frame that was captured goes without its record.
            self._obey(self._session.finish(now_s=time.monotonic(), at_once=True))
            raise
        finally:
            self.close()
        self._raise_failures()

    def _next_timer_s(self) -> float | None:
        now_s = time.monotonic()
        overdue_from_s = self._session.edge.traffic.overdue_from_s()
        link_s = self._edge.next_timer_s(overdue_from_s=overdue_from_s, now_s=now_s)
        head_start_s = self._head_start_s if self._holds_back(now_s=now_s) else None
        timers_s = (self._session.next_timer_s(), link_s, head_start_s)
        return min((timer_s for timer_s in timers_s if timer_s is not None), default=None)

    def _holds_back(self, *, now_s: float) -> bool:
        """Return whether pictures wait for the edge's first welcome."""
        waits = self._player.on_demand and not self._player.ended
        return waits and now_s < self._head_start_s and not self._session.has_edge

    def _take_computed(self) -> None:
        while self._compute.done:
            frame_id, outcome = self._compute.done.popleft()
            if isinstance(outcome, BaseException):
                raise outcome
            self._obey(self._session.computed(frame_id, outcome, now_s=time.monotonic()))

    def _take_messages(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            parts = self._edge.receive()
            if parts is None:
                break
            now_s = time.monotonic()
            try:
                effects = self._session.received(parts, now_s=now_s)
            except WireError as reason:
                self._complain(f"{reason}; message dropped")
                continue
            self._obey(effects)
        refusal = self._session.edge.refusal
        if refusal != self._refusal_said and refusal is not None:
            log.warning("edge %s: %s; staying on local", self._settings.edge, refusal.words)
        self._refusal_said = refusal  # said once: a camera may run for days like that

    def _complain(self, text: str) -> None:
        line = self._complaints.say(text, now_s=time.monotonic())
        if line is not None:
            log.warning("edge %s: %s", self._settings.edge, line)

    def _look_after_link(self) -> None:
        """Connect anew if the connection stalls."""
        now_s, talk = time.monotonic(), self._session.edge
        self._log_link(self._link_news.look(now_s=now_s))
        overdue_s = talk.traffic.overdue_s(now_s=now_s)
        self._take_link_events(
            self._edge.look(overdue_s=overdue_s, delay_s=talk.delay_s, now_s=now_s)
        )

    def _take_link_events(self, events: list[LinkEvent]) -> None:
        for event in events:
            now_s = time.monotonic()
            self._log_link(self._link_news.now(event.value, now_s=now_s))
            if event is LinkEvent.CONNECTED:
                self._obey(self._session.connected(now_s=now_s))
            else:
                self._obey(self._session.disconnected(now_s=now_s))

    def _log_link(self, line: str | None) -> None:
        if line is not None:
            log.info("edge %s: %s", self._settings.edge, line)

    def _take_frames(self) -> bool:
        """Capture what there is; on demand one picture a turn. Return whether there may be more.

        A set of pictures that the device answers by itself never makes it wait, so without turns
        the edge would not be heard until its end.
        """
        if self._holds_back(now_s=time.monotonic()):
            return False
        while not self._player.on_demand or self._wants_picture():
            captured = self._player.take(now_s=time.monotonic())
            if captured is None:
                return False
            self._capture(captured)
            if self._player.on_demand:
                return True
        return False

    def _capture(self, captured: Captured) -> None:
        frame_id, fault = self._next_frame_id, captured.frame.fault
        self._next_frame_id += 1
        if fault is not None:
            self._pass_over(frame_id, captured, fault)
            return
        self._pictures[frame_id] = captured.frame.picture
        self._obey(
            self._session.frame_captured(
                frame_id,
                captured_s=captured.captured_s,
                now_s=time.monotonic(),
                truth=captured.frame.truth,
            )
        )

    def _pass_over(self, frame_id: int, captured: Captured, fault: str) -> None:
        """Give a frame its record that has no picture, and say why."""
        now_s = time.monotonic()
        line = self._faults.say(f"frame {frame_id}: {fault}", now_s=now_s)
        if line is not None:
            log.warning("%s", line)
        captured_s, truth = captured.captured_s, captured.frame.truth
        self._obey(
            self._session.frame_unreadable(
                frame_id, captured_s=captured_s, now_s=now_s, truth=truth
            )
        )

    def _wants_picture(self) -> bool:
        session = self._session
        return session.wants_frame and session.num_open < self._settings.playback.max_open

    def _obey(self, effects: Sequence[Effect]) -> None:
        not_taken: set[int | None] = set()  # frames of which the socket did not take a message
        for effect in effects:
            if isinstance(effect, Compute):
                frame_id = effect.frame_id
                outcome = self._compute.submit(effect, self._pictures[frame_id])
                if outcome is not None:
                    now_s = time.monotonic()
                    self._obey(self._session.computed(frame_id, outcome, now_s=now_s))
            elif isinstance(effect, Send):
                if effect.frame_id in not_taken or not self._edge.send(effect.messages):
                    if effect.frame_id is not None:  # its further messages would be out of order
                        not_taken.add(effect.frame_id)
                    now_s = time.monotonic()
                    self._obey(self._session.send_failed(effect.frame_id, now_s=now_s))
            elif isinstance(effect, Complain):
                self._complain(effect.reason)
            else:
                assert isinstance(effect, Deliver)
                self._pictures.pop(effect.record.frame_id, None)
                self._tally.add(effect.record)
                self._deliver(effect.record, effect.answer)

    def _show(self) -> control.State:
        return replace(self._state, next_frame=self._next_frame_id, has_edge=self._session.has_edge)

    def _switch(self, profile: Profile) -> control.State:
        """Switch the profile, or raise ProfileError and stay with the present one."""
        profile = with_sla(profile, sla_s=self._settings.sla_s)
        points = allowed_points(profile, self._manifest)
        from_frame = self._session.set_profile(profile, points, now_s=time.monotonic())
        log.info("profile %s from frame %d", profile.name, from_frame)
        self._state = replace(
            self._state,
            profile=profile,
            from_frame=from_frame,
            points=tuple(point.id for point in points),
        )
        return self._show()

    def _open_authenticator(self) -> Authenticator | None:
        """Admit holders of the keys in our folder to a control socket over TCP."""
        settings = self._settings
        over_tcp = settings.control is not None and not settings.control.startswith("ipc://")
        if not over_tcp or settings.keys_folder is None:
            return None
        return Authenticator(self._context, settings.keys_folder)

    def _raise_failures(self) -> None:
        if self._player.failure is not None:
            raise self._player.failure
        refusal = self._session.edge.refusal
        if refusal is not None:
            raise WireError(
                f"edge {self._settings.edge}: refused this device ({refusal.reason}): "
                f"{refusal.words}"
            )

    def close(self) -> None:
        """Stop the threads and close the sockets; `run` does it by itself."""
        if self._closed:
            return
        self._closed = True
        self._player.stop()
        self._compute.stop()
        self._edge.close()
        self._control.close()
        self._close_context()
        self._wakeup.close()

    def _close_context(self) -> None:
        if self._authenticator is not None:
            self._authenticator.close()
        self._context.term()


def with_sla(profile: Profile, *, sla_s: float) -> Profile:
    """Return the profile with its own SLA, or the device's where it has none."""
    return profile if profile.sla_ms is not None else replace(profile, sla_ms=1000 * sla_s)
