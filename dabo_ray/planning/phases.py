"""The phases of a study: how many trials each has, which are over, and which the budget closed early."""

from __future__ import annotations

from collections.abc import Sequence

from dabo_ray.planning.final_phase import Finals
from dabo_ray.planning.search import Search
from dabo_ray.planning.store import Store
from dabo_ray.planning.trial_states import Roster
from dabo_ray.trials import Phase, Trial

BEFORE_THE_FINALS = (Phase.BASELINES, Phase.SEARCH)


class Phases:
    """The phases as they stand.

    Args:
        store: keeps which are closed.
        roster: of all trials of the study.
        baselines: every trial of that phase.
        search: the second phase.
        finals: the last phase.
    """

    def __init__(
        self, store: Store, roster: Roster, baselines: Sequence[Trial], search: Search, finals: Finals
    ) -> None:
        self._store = store
        self._roster = roster
        self._baselines = baselines
        self._search = search
        self._finals = finals
        self._closed = store.closed_phases()

    def is_closed(self, phase: Phase) -> bool:
        """Whether the budget ended it early; a study that is extended opens it again."""
        return phase in self._closed

    @property
    def why_closed(self) -> str:
        """Which limit of the budget ended which phase early, with its numbers; empty if none did."""
        return "; ".join(self._closed.values())

    def close(self, phase: Phase, limit: str) -> None:
        """Ends a phase before all of its trials were issued, for good unless the study is extended."""
        done = len(self._roster.issued[phase])
        self._closed[phase] = f"{limit}; {phase} ended after {done} of {self._planned_whole(phase)} trials"
        self._store.close_phase(phase, self._closed[phase])

    def planned(self, phase: Phase) -> int:
        """Trials of a phase, as far as is known; there may be fewer when trials fail or the budget ends."""
        return len(self._roster.issued[phase]) if self.is_closed(phase) else self._planned_whole(phase)

    def _planned_whole(self, phase: Phase) -> int:
        if phase is Phase.BASELINES:
            return len(self._baselines)
        if phase is Phase.SEARCH:
            return self._search.planned
        return self._finals.planned(self.finals_are_known)

    def has_more(self, phase: Phase) -> bool:
        """Whether a phase before the finals has trials to start, new or suspended ones."""
        if self.is_closed(phase):
            return False
        is_left = phase is Phase.SEARCH and bool(self._roster.suspended)
        return is_left or len(self._roster.issued[phase]) < self.planned(phase)

    @property
    def finals_are_known(self) -> bool:
        """Whether all before the final phase has ended."""
        return not any(
            self.has_more(phase) or len(self._roster.ended[phase]) < self.planned(phase) for phase in BEFORE_THE_FINALS
        )
