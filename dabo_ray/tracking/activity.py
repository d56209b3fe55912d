"""What a command does before and after its trials, on the terminal: reading data, measuring, writing a report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from dabo_ray.analysis.wording import duration

SECONDS_TO_FIRST_LINE, SECONDS_BETWEEN_LINES = 1.0, 10.0
"""Of plain lines: what takes no second is not told of."""

SECONDS_TO_ESTIMATE = 5.0
"""Before that, what is counted says little about how long it takes."""

BEAT_SECONDS = 1.0


@contextmanager
def beating(tick: Callable[[], None]) -> Iterator[None]:
    """Within, `tick` is called every second by a thread."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            tick()

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


class Activity:
    """Shows what is being done and how far it is, from the first second on and every ten seconds at least.

    On a terminal in one line that changes and goes at the end, anywhere else in plain lines; on standard error, since
    it is no result.

    Args:
        what: is done first, as in "reading the data".
        console: where to show it; standard error by default.
        clock: seconds since any moment.
    """

    def __init__(
        self, what: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._next_line = clock() + SECONDS_TO_FIRST_LINE
        self.now(what)

    def __enter__(self) -> Self:
        if self._is_live:
            # What goes to standard output may go to a file.
            live = Live(
                console=self._console,
                get_renderable=lambda: Spinner("line", self.describe()),
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
            )
            self._stack.enter_context(live)
        else:
            self._stack.enter_context(beating(self.tick))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def now(self, what: str) -> None:
        """What is done from now on."""
        with self._lock:
            self._what, self._since, self._counted = what, self._clock(), (0, 0)

    def count(self, done: int, total: int) -> None:
        """How far it is."""
        with self._lock:
            if total != self._counted[1]:
                self._since = self._clock()
            self._counted = done, total

    def describe(self) -> str:
        """What is done, how far it is, and for how long."""
        with self._lock:
            seconds, (done, total) = self._clock() - self._since, self._counted
            how_far = f": {done:,} of {total:,}" if total else ""
            left = seconds * (total - done) / done if done and seconds >= SECONDS_TO_ESTIMATE else 0
            return f"{self._what}{how_far}, {duration(seconds)}" + (f", about {duration(left)} left" if left else "")

    def tick(self) -> None:
        """Prints a line if none was printed for a while; called by a thread when the output is no terminal."""
        with self._lock:
            if self._clock() >= self._next_line:
                self._next_line = self._clock() + SECONDS_BETWEEN_LINES - BEAT_SECONDS
                self._console.print(self.describe(), soft_wrap=True, markup=False)
