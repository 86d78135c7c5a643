"""What an edge tells its operator while it runs: who comes and goes, and how busy it is.

A line when a device is welcomed, one when it is found gone, and a summary of what happened since
the last one every minute in which something did.
"""

from collections import Counter
from collections.abc import Mapping
from math import inf

from headgate.runtime.complaints import Complaints
from headgate.runtime.edge.edge_tally import EdgeStats
from headgate.runtime.wire.identities import device_name

EVERY_S = 60.0
LOOK_S = 5.0  # between looks for who has gone
TOGETHER_S = 10.0  # what is heard so long after a device came is no leftover of its earlier life
MAX_SHOWN_BYTES = 18  # of an identity; a device's own has as many
MAX_NAMED = 16  # devices in one line
MAX_KEPT = 4096  # names: more than an edge has peers, should some come and go all the time


class EdgeWatch:
    """Turns what the edge counts into lines for its log. `now_s` never falls."""

    def __init__(self) -> None:
        self.names: dict[bytes, str] = {}  # by identity, of the welcomed peers that were named
        self._num_of_name: Counter[str] = Counter()
        self._welcomed_s: dict[bytes, float] = {}  # of the same peers
        self._shared: set[str] = set()  # names that several devices use, which was said
        self._before: EdgeStats | None = None
        self._since_s = self._look_s = inf
        self._comings, self._goings = Complaints(), Complaints()

    def start(self, stats: EdgeStats, *, now_s: float) -> None:
        """Count from here."""
        self._before, self._since_s, self._look_s = stats, now_s, inf

    def name(self, peer: bytes) -> str:
        """Return what to call a peer; an identity may be long, and is a stranger's own choice."""
        rest = "..." if len(peer) > MAX_SHOWN_BYTES else ""
        return self.names.get(peer) or peer[:MAX_SHOWN_BYTES].hex() + rest

    def welcomed(self, peer: bytes, name: str, *, family: str, now_s: float) -> str | None:
        """Take note of a peer that was welcomed; return the line for the log, if it is due one."""
        if len(self.names) >= MAX_KEPT:
            return None
        again = " anew" if self._num_of_name[name] else ""
        self.names[peer] = name
        self._welcomed_s[peer] = now_s
        self._num_of_name[name] += 1
        self._look_s = min(self._look_s, now_s + LOOK_S)
        return self._comings.say(f"{name}: connected{again}, family {family}", now_s=now_s)

    def next_timer_s(self) -> float | None:
        """Return when `look` wants to be called next; None while nobody is there."""
        return None if self._look_s == inf else self._look_s

    def look(self, stats: EdgeStats, heard_s: Mapping[bytes, float], *, now_s: float) -> list[str]:
        """Return who has gone since the last look, and the summary if a minute is over.

        `heard_s`: when each peer was heard last that is welcome.
        """
        gone = [peer for peer in self.names if peer not in heard_s]
        left = Counter(self.names.pop(peer) for peer in gone)
        for peer in gone:
            del self._welcomed_s[peer]
        self._num_of_name -= left  # drops those that reach 0
        still = self._num_of_name
        said = [self._goings.say(f"{n}: gone", now_s=now_s) for n in left if n not in still]
        lines = [*(line for line in said if line is not None), *self._shared_keys(heard_s)]
        if now_s - self._since_s >= EVERY_S or (left and not still):
            lines += self._summary(stats, now_s=now_s)
        self._look_s = now_s + LOOK_S if self.names else inf
        return lines

    def _shared_keys(self, heard_s: Mapping[bytes, float]) -> list[str]:
        """Return a line for each name that several devices now use at once.

        That cannot be told when the second comes: a device that begins anew comes like that. But
        then nothing more is heard of its earlier life.
        """
        since_s: dict[str, float] = {}
        for peer, name in self.names.items():
            since_s[name] = max(since_s.get(name, -inf), self._welcomed_s[peer])
        devices: dict[str, set[bytes]] = {}
        for peer, name in self.names.items():
            if self._num_of_name[name] > 1 and heard_s[peer] >= since_s[name] + TOGETHER_S:
                devices.setdefault(name, set()).add(device_name(peer) or peer)
        shared = {name: len(several) for name, several in devices.items() if len(several) > 1}
        new = [name for name in shared if name not in self._shared]
        self._shared = {name for name in self._shared | shared.keys() if name in self._num_of_name}
        return [
            f"{name}: {shared[name]} devices use this key at once; they are served, but cannot be "
            "told apart here; give each a key of its own (headgate keygen)"
            for name in new
        ]

    def _summary(self, stats: EdgeStats, *, now_s: float) -> list[str]:
        assert self._before is not None, "start comes first"
        done = stats.since(self._before)
        past_s, self._before, self._since_s = now_s - self._since_s, stats, now_s
        if done.frames_received == 0 and not done.frames_rejected:
            return []
        names = sorted(self._num_of_name)
        named = ",".join(names[:MAX_NAMED]) + (",..." if len(names) > MAX_NAMED else "")
        busy_share = min(1.0, done.busy_s / past_s) if past_s > 0 else 0.0
        return [
            f"last {past_s:.0f} s: devices={len(names)} names={named or 'none'} "
            f"busy_share={busy_share:.3f} frames_queued={stats.frames_queued} {done.to_line()}"
        ]
