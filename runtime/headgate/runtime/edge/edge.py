"""The edge's shell: one ROUTER, one worker thread for the tails, and an `EdgeSession` between.

The main thread only moves messages, so that probes and new frames are answered while a tail runs.
Work goes to the worker through a queue and comes back through a queue and a wake-up; nothing polls.
A single frame whose tail is shorter than that hand-over runs at once, if no other message waits:
under load frames must queue up, or there would be nothing to batch. `quickness` says what is short.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import zmq
from zmq.utils.monitor import parse_monitor_message

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import Manifest
from headgate.runtime.complaints import Complaints
from headgate.runtime.edge.backend import TailBackend
from headgate.runtime.edge.edge_events import (
    EdgeEffect,
    EdgeLimits,
    Ignored,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.edge.edge_watch import EdgeWatch
from headgate.runtime.edge.worker import Worker
from headgate.runtime.sockets.edge_socket import has_message
from headgate.runtime.sockets.handshakes import FAILED_HANDSHAKES, edge_complaint
from headgate.runtime.sockets.keys import Authenticator, Context, EdgeKeys, Socket, secure_server
from headgate.runtime.sockets.listening import IPC, listen
from headgate.runtime.sockets.receiving import NO_ADDRESS, receive_parts
from headgate.runtime.wakeup import Wakeup, poll_timeout_ms

log = logging.getLogger(__name__)

MESSAGES_PER_TURN = 64  # then batches and timers have their turn
COMPLAIN_EVERY_S = 60.0
KEEPALIVE_S = 10  # of silence, and between asking
HANDSHAKE_MS = 10_000  # a device gives up after half of it; each that waits holds a descriptor
SILENCE_MS = 40_000  # until a peer that takes nothing counts as gone
GOODBYE_LINGER_MS = 500  # for the last answers of a drained edge


class EdgeServer:
    """Serves families at one address until it is told to stop."""

    def __init__(
        self,
        backends: Mapping[str, TailBackend],
        manifests: Mapping[str, Manifest],
        *,
        bind: str,
        keys: EdgeKeys | None = None,
        limits: EdgeLimits | None = None,
    ) -> None:
        """`backends` and `manifests` by family digest. Raises UsageError if it cannot listen."""
        limits = limits or EdgeLimits()
        batches = [backend.max_batch for backend in backends.values()]
        limits = replace(limits, max_batch=min([limits.max_batch, *batches]))
        self.digests = tuple(manifests)
        self._session = EdgeSession(manifests, limits)
        self._wakeup = Wakeup()
        self._worker = Worker(backends, on_finished=self._wakeup.set)
        self._stopping = False
        self._num_received = self._num_received_before = 0  # before the running batch began
        self._context: Context = zmq.Context()
        self._authenticator: Authenticator | None = None
        if keys is not None:
            self._authenticator = Authenticator(self._context, keys.devices)
        self._router = self._open_router(bind, keys, limits)
        self._monitor: Socket = self._router.get_monitor_socket(FAILED_HANDSHAKES)
        self._complain_again_s: dict[str, float] = {}  # by what was said
        self._complaints, self._refusals = Complaints(), Complaints()  # of messages, of handshakes
        self._watch = EdgeWatch()
        self._stranger: tuple[bytes, str] | None = None  # whose message is taken, and its name
        self.endpoint: str = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def stop(self) -> None:
        """Begin to drain; safe from any thread and from a signal handler."""
        self._stopping = True
        self._wakeup.set()

    def run(self) -> None:
        """Serve until `stop`, then finish the running batch, say goodbye and close."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._wakeup, zmq.POLLIN)
        self._worker.start()
        now_s = time.monotonic()
        self._watch.start(self._session.stats(now_s=now_s), now_s=now_s)
        draining = False
        try:
            while not self._session.drained:
                timer_s, look_s = self._session.next_timer_s(), self._watch.next_timer_s()
                wake_s = min((at_s for at_s in (timer_s, look_s) if at_s is not None), default=None)
                ready = dict(poller.poll(poll_timeout_ms(wake_s, now_s=time.monotonic())))
                if self._wakeup.fileno() in ready:
                    self._take_finished()
                if self._router in ready:
                    self._take_messages()
                if self._monitor in ready:
                    self._log_failed_handshakes()
                now_s = time.monotonic()
                if timer_s is not None and timer_s <= now_s:
                    self._obey(self._session.handle_timer(now_s=now_s))
                if look_s is not None and look_s <= now_s:
                    self._look(now_s=now_s)
                if self._stopping and not draining:
                    draining = True
                    log.info("draining: queued frames are rejected, the running batch finishes")
                    self._obey(self._session.drain(now_s=now_s))
            log.info("edge ended %s", self._session.stats(now_s=time.monotonic()).to_line())
        finally:
            self._close()

    def _take_finished(self) -> None:
        self._wakeup.clear()
        while self._worker.finished:
            done = self._worker.finished.popleft()
            if done.failure is not None:
                raise done.failure
            now_s = time.monotonic()
            single = len(done.outcomes) == 1
            self._worker.was_alone(single and self._num_received == self._num_received_before)
            self._obey(self._session.batch_finished(done.batch_id, done.outcomes, now_s=now_s))

    def _take_messages(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            if not has_message(self._router):
                return
            (peer, *parts), sender = receive_parts(self._router, self._watch.names)
            self._num_received += 1
            name = None if sender is None else self._name(peer, sender)
            self._stranger = None if name is None else (peer, name)
            owner = sender if self._authenticator is not None else None
            self._obey(self._session.received(peer, parts, now_s=time.monotonic(), owner=owner))
            self._stranger = None
            if name is not None:
                self._greet(peer, name)

    def _name(self, peer: bytes, sender: str) -> str:
        """Return what to call a peer: its key's name, or its address and what sets it apart."""
        name = None if self._authenticator is None else self._authenticator.name_of(sender)
        if name is None and sender == NO_ADDRESS and not self.endpoint.startswith(IPC):
            return self._watch.name(peer)
        return f"{sender}/{peer[1:4].hex()}" if name is None else name

    def _greet(self, peer: bytes, name: str) -> None:
        """Say which device was welcomed, if this peer now is."""
        digest = self._session.family_of(peer)
        if digest is None:
            return
        now_s = time.monotonic()
        line = self._watch.welcomed(peer, name, family=digest[:12], now_s=now_s)
        if line is not None:
            log.info("%s", line)

    def _look(self, *, now_s: float) -> None:
        heard_s = self._session.heard_s(self._watch.names)
        for line in self._watch.look(self._session.stats(now_s=now_s), heard_s, now_s=now_s):
            log.info("%s", line)

    def _log_failed_handshakes(self) -> None:
        """Say that somebody was not let in; a refused device tries every few seconds, we do not."""
        while has_message(self._monitor):
            event = parse_monitor_message(self._monitor.recv_multipart())
            kind, keys = event["event"], self._authenticator
            key = None
            if keys is not None and kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                key = keys.next_refused()
            text = edge_complaint(kind, event["value"], has_keys=keys is not None, refused_key=key)
            self._say_refusal(text, now_s=time.monotonic())

    def _say_refusal(self, text: str, *, now_s: float) -> None:
        again_s = {said: at_s for said, at_s in self._complain_again_s.items() if at_s > now_s}
        self._complain_again_s = again_s
        if text in again_s:
            return
        line = self._refusals.say(text, now_s=now_s)  # strangers may have a new key each time
        if line is not None:
            again_s[text] = now_s + COMPLAIN_EVERY_S
            log.warning("%s", line)

    def _obey(self, effects: Sequence[EdgeEffect]) -> None:
        """Do what the session says; answers go out before a quick batch runs on this thread."""
        quick: deque[RunBatch] = deque()
        while True:
            for effect in effects:
                if isinstance(effect, SendTo):
                    # A ROUTER drops what it cannot send at once: a slow peer delays nobody.
                    with contextlib.suppress(zmq.Again):
                        self._router.send_multipart([effect.peer, *effect.parts], zmq.NOBLOCK)
                elif isinstance(effect, Ignored):
                    self._complain(effect)
                elif self._worker.is_quick(effect) and not has_message(self._router):
                    quick.append(effect)
                else:
                    self._num_received_before = self._num_received
                    self._worker.submit(effect)
            if not quick:
                return
            batch = quick.popleft()
            outcomes = self._worker.run(batch)
            now_s = time.monotonic()
            self._worker.was_alone(not has_message(self._router))
            effects = self._session.batch_finished(batch.batch_id, outcomes, now_s=now_s)

    def _complain(self, effect: Ignored) -> None:
        stranger, name = self._stranger or (None, "")
        called = name if effect.peer == stranger else self._watch.name(effect.peer)
        text = f"peer {called}: {effect.reason}"
        line = self._complaints.say(text, now_s=time.monotonic())
        if line is not None:
            log.warning("%s", line)

    def _open_router(self, bind: str, keys: EdgeKeys | None, limits: EdgeLimits) -> Socket:
        router: Socket = self._context.socket(zmq.ROUTER)
        router.linger = GOODBYE_LINGER_MS
        router.router_handover = True  # a rejoining device takes its identity over
        router.maxmsgsize = limits.wire.max_part_bytes
        router.handshake_ivl = HANDSHAKE_MS
        # Devices send heartbeats, we only answer them. With our own, ZeroMQ aborts when one is due
        # on a connection that broke while its queue was full (libzmq issue 4364): any peer could
        # end us. The kernel finds out about those that vanished.
        router.tcp_keepalive = 1
        router.tcp_keepalive_idle = KEEPALIVE_S
        router.tcp_keepalive_intvl = KEEPALIVE_S
        router.tcp_keepalive_cnt = 3
        router.tcp_maxrt = SILENCE_MS  # keepalive waits while answers are on their way
        if keys is not None:
            secure_server(router, keys.own)
        try:
            listen(router, bind, option="--bind")
        except UsageError:
            router.close(0)
            self._close_context()
            raise
        return router

    def _close(self) -> None:
        self._worker.stop()
        self._router.disable_monitor()
        self._monitor.close(0)
        self._router.close()
        self._close_context()
        self._wakeup.close()

    def _close_context(self) -> None:
        if self._authenticator is not None:
            self._authenticator.close()
        self._context.term()
