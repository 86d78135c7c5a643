"""What a client keeps to go on after a stop: in memory and, where it has a folder, on disk.

begin    as it was when the epoch under way began, to return there with the server
now      as it is: at each epoch's end, and every so many steps where that is asked for
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED
from headgate.profiles.storage import make_folder
from headgate.profiles.train_messages import Place
from headgate.train.split_training.client_half import ClientHalf
from headgate.train.split_training.client_session import ClientSession
from headgate.train.split_training.halves import (
    is_clients,
    pack_side,
    unpack_side,
    use_selection,
)
from headgate.train.split_training.state_files import forget_state, read_state, write_state

BEGIN, NOW = "begin", "now"


@dataclass(frozen=True, slots=True)
class ClientState:
    """All of a client's checkpoint but its tensors."""

    name: str
    epoch: int  # the next batch
    step: int
    ended_at: tuple[int, int] | None  # where the epoch before ended, if a GO is awaited
    selected: tuple[int, ...]
    settings: dict[str, str] = field(default_factory=dict, metadata=ADDED)  # that it was made with
    # Where a client trains alone: how many batches of this epoch cross, and lessons that are done.
    num_crossing: int | None = field(default=None, metadata=ADDED)
    lessons_done: int = field(default=0, metadata=ADDED)

    @property
    def how_far(self) -> tuple[int, int, int]:
        return self.epoch, self.step, self.lessons_done


class ClientCheckpoints:
    """Keeps and restores one client's half."""

    def __init__(
        self, half: ClientHalf, *, name: str, folder: Path | None, settings: Mapping[str, str]
    ) -> None:
        """`settings`, by the names that a user knows, are those that a resumed client needs."""
        self._half = half
        self._name = name
        self._folder = folder
        self._settings = dict(settings)
        self._begin: tuple[dict[str, Tensor], tuple[int, ...]] | None = None

    def start_over(self) -> None:
        """Make the folder one of a client without any state: none of another run is resumed."""
        if self._folder is not None:
            self._make_folder()
            for name in (BEGIN, NOW):
                forget_state(self._folder, name)

    def _make_folder(self) -> None:
        """Make the folder, once: one that vanishes later is an error, as is that of the run."""
        if self._folder is not None:
            make_folder(self._folder)

    def epoch_begins(self, session: ClientSession) -> None:
        """Keep what the client is, to return to."""
        self._remember()
        self._write(BEGIN, session)

    def keep(self, session: ClientSession) -> None:
        """Write what the client is now."""
        self._write(NOW, session)

    def roll_back(self, session: ClientSession) -> None:
        """Return to the epoch's begin, for good: what came after it must not be resumed."""
        assert self._begin is not None
        tensors, selected = self._begin
        self._half.forget()
        self._restore({name: t.clone() for name, t in tensors.items()}, selected)
        self.keep(session)

    def resume(self, fresh: Callable[..., ClientSession]) -> ClientSession:
        """Return a session that goes on where the folder says, or a `fresh` one."""
        self._make_folder()
        begin = self._read(BEGIN)
        if begin is None:
            return fresh()
        state, tensors = begin
        rollback_epoch = state.epoch
        self._restore(tensors, state.selected)
        self._remember()
        now = self._read(NOW)
        if now is not None and now[0].how_far > state.how_far:
            state, tensors = now
            self._restore(tensors, state.selected)
        session = fresh(
            place=Place(state.epoch, state.step),
            ended_at=Place(*state.ended_at) if state.ended_at is not None else None,
            rollback_epoch=rollback_epoch,
        )
        if state.num_crossing is not None:
            session.num_steps = state.num_crossing
            self._half.plan.num_crossing = state.num_crossing
            self._half.plan.done = state.lessons_done
        return session

    def _tensors(self) -> dict[str, Tensor]:
        half = self._half
        tensors = pack_side(half.model, half.optimizer, belongs=is_clients)
        return {**tensors, **half.extra_state()}

    def _remember(self) -> None:
        assert self._half.model.selected is not None
        tensors = {name: t.detach().clone() for name, t in self._tensors().items()}
        self._begin = tensors, self._half.model.selected

    def _restore(self, tensors: dict[str, Tensor], selected: tuple[int, ...]) -> None:
        half = self._half
        use_selection(half.model, selected)
        unpack_side(tensors, half.model, half.optimizer)
        half.restore_extra(tensors)

    def _write(self, name: str, session: ClientSession) -> None:
        if self._folder is None:
            return
        assert self._half.model.selected is not None
        place, ended_at, plan = session.place, session.ended_at, self._half.plan
        state = ClientState(
            name=self._name,
            epoch=place.epoch,
            step=place.step,
            ended_at=(ended_at.epoch, ended_at.step) if ended_at is not None else None,
            selected=self._half.model.selected,
            settings=self._settings,
            num_crossing=plan.num_crossing if self._half.trains_alone else None,
            lessons_done=plan.done if self._half.trains_alone and ended_at is None else 0,
        )
        write_state(self._folder, name, state, tensors=self._tensors())

    def _read(self, name: str) -> tuple[ClientState, dict[str, Tensor]] | None:
        if self._folder is None:
            return None
        found = read_state(self._folder, name, ClientState)
        if found is None:
            return None
        state, _ = found
        if state.name != self._name:
            raise UsageError(
                f"{self._folder}: holds the state of client {state.name!r}, not of "
                f"{self._name!r}; give the same --name"
            )
        before = state.settings or self._settings  # older ones do not say
        changed = [
            f"{key}: now {self._settings.get(key)}, before {before.get(key)}"
            for key in {**self._settings, **before}
            if self._settings.get(key) != before.get(key)
        ]
        if changed:
            raise UsageError(
                f"{self._folder}: cannot be resumed with other settings ({'; '.join(changed)}); "
                "give the same ones, or begin as a new client without --resume"
            )
        return found


def has_state(folder: Path) -> bool:
    """Say whether a client once began in this folder."""
    return any((folder / f"{name}.json").exists() for name in (BEGIN, NOW))
