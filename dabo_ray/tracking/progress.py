"""Progress of a running study on the terminal."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dabo_ray.analysis.wording import describe_settings, duration, one_line
from dabo_ray.tracking.activity import SECONDS_BETWEEN_LINES, beating
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

NUM_EPOCHS_FOR_AN_ESTIMATE = 5
OUTCOMES = {
    Outcome.COMPLETE: ("done", "green"),
    Outcome.PRUNED: ("pruned", "yellow"),
    Outcome.FAIL: ("failed", "bold red"),
    Outcome.RUNNING: ("left", "bold red"),
}
"""How a trial ended -> word and style; one that ended as running is left to the next start."""


class Progress:
    """Follows a study and shows how it stands: a live display on a terminal, plain lines anywhere else."""

    def __init__(
        self,
        *,
        totals: Mapping[Phase, int],
        epochs_per_trial: int,
        ended: Iterable[TrialResult] = (),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the display; it begins with `with`.

        Args:
            totals: Planned trials of each phase.
            epochs_per_trial: Epochs of a trial that has not begun, as far as is known.
            ended: Trials that ended in earlier starts of the study.
            console: Where to show it; standard output by default.
            clock: Seconds since any moment.
        """
        self._totals = dict(totals)
        self._console = console or Console()
        self._clock = clock
        self._lock = threading.RLock()
        self._epochs_per_trial = epochs_per_trial
        self._ended: dict[Phase, Counter[Outcome]] = {phase: Counter() for phase in totals}
        self._running: dict[str, _Running] = {}
        self._begun: set[Phase] = set()
        self._best: TrialResult | None = None
        self._waiting = ""
        self._start = self._last_line = clock()
        self._epoch_times: list[float] = []
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._stack = ExitStack()
        for result in ended:
            self._count(result)

    def __enter__(self) -> Self:
        self._start = self._last_line = self._clock()
        if self._is_live:
            live = Live(console=self._console, get_renderable=self.render, refresh_per_second=4, transient=False)
            self._stack.enter_context(live)
        else:
            self._stack.enter_context(beating(self.tick))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def trial_started(self, trial: Trial) -> None:
        """Count the trial as running."""
        with self._lock:
            self._running[trial.name] = _Running(trial, self._clock())
            if trial.phase not in self._begun:
                self._begun.add(trial.phase)
                self._line(f"{trial.phase}: {self._totals.get(trial.phase, 0)} trials planned", only_plain=True)

    def epoch_ended(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """Show how far the trial is."""
        with self._lock:
            running = self._running.setdefault(trial.name, _Running(trial, self._clock()))
            running.epoch = int(metrics["epoch"])
            running.score = metrics.get(trial.select_metric, running.score)
            self._epoch_times.append(self._clock())

    def waiting(self, words: str) -> None:
        """Show it from now on, in the display and in the heartbeats."""
        with self._lock:
            self._waiting = words

    def cluster_changed(self, words: str) -> None:
        """Say so in a line."""
        with self._lock:
            self._line(words, only_plain=False)

    def trial_ended(self, result: TrialResult) -> None:
        """Count the trial as ended and, unless the display is live and nothing is wrong, say so in a line."""
        with self._lock:
            running = self._running.pop(result.trial.name, None)
            self._count(result)
            seconds = self._clock() - running.since if running else None
            is_wrong = result.outcome in (Outcome.FAIL, Outcome.RUNNING)
            self._line(self._describe_end(result, seconds), only_plain=not is_wrong)

    def tick(self) -> None:
        """Print a heartbeat if no line was printed for a while; called by a thread when the output is no terminal."""
        with self._lock:
            if self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
                running = ", ".join(entry.describe() for entry in self._running.values()) or "no trial is running"
                waiting = f"; {self._waiting}" if self._waiting else ""
                self._line(f"{self._counter()} {self._times()}; {running}{waiting}", only_plain=True)

    def render(self) -> RenderableType:
        """The live display as it stands."""
        with self._lock:
            phases = Table.grid(padding=(0, 1))
            for phase, total in self._totals.items():
                num_done = self._ended[phase].total()
                phases.add_row(
                    f"{phase}",
                    ProgressBar(total=max(total, num_done, 1), completed=num_done, width=20),
                    f"{num_done}/{total}",
                    self._describe_counts(phase),
                )
            lines: list[RenderableType] = [phases]
            lines += [
                Text(f"  {entry.describe()}", no_wrap=True, overflow="ellipsis") for entry in self._running.values()
            ]
            if self._best is not None:
                lines.append(Text(f"best so far: {_describe_best(self._best)}", style="bold"))
            if self._waiting:
                lines.append(Text(self._waiting, style="yellow"))
            lines.append(Text(self._times(), style="dim"))
            return Group(*lines)

    def _count(self, result: TrialResult) -> None:
        trial = result.trial
        self._ended.setdefault(trial.phase, Counter())[result.outcome] += 1
        is_better = self._best is None or _select_score(result) > _select_score(self._best)
        if trial.phase is Phase.SEARCH and result.outcome is Outcome.COMPLETE and is_better:
            self._best = result

    def _describe_counts(self, phase: Phase) -> Text:
        num_running = sum(entry.trial.phase is phase for entry in self._running.values())
        counts = [(num_running, "running", "cyan")] + [
            (self._ended[phase][outcome], word, style) for outcome, (word, style) in OUTCOMES.items()
        ]
        return Text(", ").join(Text(f"{count} {word}", style=style) for count, word, style in counts if count)

    def _describe_end(self, result: TrialResult, seconds: float | None) -> str:
        trial, outcome = result.trial, "LEFT" if result.outcome is Outcome.RUNNING else str(result.outcome)
        parts = [self._counter(), trial.name, outcome]
        for part, name in (("select", trial.select_metric), ("test", trial.test_metric)):
            if name in result.metrics:
                parts.append(f"{part} {result.metrics[name]:.1f} %")
        if seconds is not None:
            parts.append(f"in {duration(seconds)}")
        if result.reason:
            parts.append(f"- {one_line(result.reason)}")
        if trial.settings:
            parts.append(f" ({describe_settings(trial.settings)})")
        left = self._seconds_left()
        return " ".join(parts) + (f"; about {duration(left)} left" if left else "")

    def _counter(self) -> str:
        num_ended, total = sum(counts.total() for counts in self._ended.values()), sum(self._totals.values())
        return f"[{num_ended:{len(str(total))}}/{total}]"

    def _times(self) -> str:
        left = self._seconds_left()
        estimate = f", about {duration(left)} left" if left else ""
        return f"{duration(self._clock() - self._start)} elapsed{estimate}"

    def _seconds_left(self) -> float | None:
        """Epochs left over the epochs per second measured so far; unknown until a few were measured."""
        if len(self._epoch_times) < NUM_EPOCHS_FOR_AN_ESTIMATE:
            return None
        # From the first epoch on, since starting Ray and its workers takes a while and happens once.
        seconds_per_epoch = (self._clock() - self._epoch_times[0]) / (len(self._epoch_times) - 1)
        return self._epochs_left() * seconds_per_epoch

    def _epochs_left(self) -> int:
        """Of running trials, which know how many they have, and of those that have not begun."""
        begun = Counter(entry.trial.phase for entry in self._running.values())
        waiting = sum(
            max(total - begun[phase] - self._ended[phase].total(), 0) for phase, total in self._totals.items()
        )
        running = sum(entry.trial.epochs - entry.epoch for entry in self._running.values())
        return waiting * self._epochs_per_trial + running

    def _line(self, text: str, *, only_plain: bool) -> None:
        if self._is_live and only_plain:
            return
        self._last_line = self._clock()
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


class _Running:
    """A trial that runs now."""

    def __init__(self, trial: Trial, since: float) -> None:
        self.trial = trial
        self.since = since
        self.epoch = 0
        self.score: float | None = None
        """On the select images, in percent."""

    def describe(self) -> str:
        score = "" if self.score is None else f", select {self.score:.1f} %"
        return f"{self.trial.name} epoch {self.epoch}/{self.trial.epochs}{score}"


def _describe_best(result: TrialResult) -> str:
    settings = f"  ({describe_settings(result.trial.settings)})" if result.trial.settings else ""
    return f"{result.trial.name} select {_select_score(result):.1f} %{settings}"


def _select_score(result: TrialResult) -> float:
    return result.metrics.get(result.trial.select_metric, float("-inf"))
