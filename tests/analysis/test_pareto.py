"""Which items no other beats."""

from __future__ import annotations

from dabo_ray.analysis.pareto import pareto_front

TWO = {"select_accuracy": "maximize", "gpu_hours": "minimize"}


def test_the_front_has_what_no_other_beats():
    points = [
        {"select_accuracy": accuracy, "gpu_hours": hours}
        for accuracy, hours in [(70.0, 1.0), (80.0, 2.0), (75.0, 2.0), (90.0, 9.0), (80.0, 2.0), (60.0, 1.0)]
    ]
    assert pareto_front(points, TWO, dict) == [points[0], points[1], points[3], points[4]]
    assert pareto_front(points, {"select_accuracy": "maximize"}, dict) == [points[3]]
    assert pareto_front([], TWO, dict) == []
