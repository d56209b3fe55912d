"""Run of a study on Ray that outlives Ray: a fault of the machine ends it, and it begins again where it stood."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import signals, tune
from dabo_ray.faults import is_out_of_memory, machine_fault

_LOG = logging.getLogger("dabo_ray")


def run_with_restarts(
    study: StudyConfig,
    execution: tune.StudyExecution,
    connected: Callable[[], AbstractContextManager[Mapping[str, float]]],
) -> None:
    """Runs the study to its end. When Ray ends before, it is started again and trials go on from their checkpoints.

    Where memory was too little, half as many trials run at once from then on.

    Args:
        study: the checked study file.
        execution: of the study.
        connected: connects to Ray, gives its resources, and leaves it at the end.

    Raises:
        KeyboardInterrupt: Ctrl-C; the trials have been stopped.
        DoesNotFitError: a trial does not fit on the cluster.
        Exception: what ended Ray's run, if it is no fault of the machine, or came again and again before any epoch was
            trained.
    """
    idle_starts, most_at_once = 0, None
    while True:
        num_epochs = execution.num_epochs
        try:
            with connected() as available:
                fitting = tune.concurrent_trials(study.resources, available)
                concurrent = fitting if most_at_once is None else min(fitting, most_at_once)
                execution.plan.budget.concurrent = concurrent
                # From here on Tune looks after Ctrl-C.
                signals.check()
                tune.run(study, execution, concurrent)
            return
        except Exception as error:
            idle_starts = 0 if execution.num_epochs > num_epochs else idle_starts + 1
            if not (fault := machine_fault(error)) or idle_starts > tune.RETRIES:
                raise
            if is_out_of_memory(error):
                most_at_once = max(1, execution.plan.budget.concurrent // 2)
            execution.ray_stopped(fault)
            if execution.plan.is_done:
                return
            at_once = "" if most_at_once is None else f", at most {most_at_once} at a time"
            _LOG.warning(
                "Ray was stopped: %s. It is started again; trials go on from their checkpoints%s.", fault, at_once
            )
