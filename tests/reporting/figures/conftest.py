"""What the tests of figures share: made-up arms and trials, and ways to look at a figure."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from dabo_ray.reporting.figures import arms, distribution, drawing, epochs, objectives, settings
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


@pytest.fixture
def svg_of():
    """Gives the text of a figure."""

    def decode(uri):
        head, encoded = uri.split(",", 1)
        assert head == "data:image/svg+xml;base64"
        return base64.b64decode(encoded).decode()

    return decode


@pytest.fixture
def texts(svg_of):
    """Gives every text of a figure: matplotlib draws letters as outlines and leaves the text as a comment."""

    def read(uri):
        svg = svg_of(uri)
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        return {text.strip() for text in re.findall(r"<!-- (.*?) -->", svg)}

    return read


@pytest.fixture
def make_arm():
    """Makes an arm of a summary."""

    def make(name, values, method="none", ci95=1.0, cost_ratio=1.0):
        accuracy = {"mean": float(np.mean(values)), "ci95": ci95, "values": list(values)}
        return {"name": name, "method": method, "score": "accuracy", "test_score": accuracy, "cost_ratio": cost_ratio}

    return make


@pytest.fixture
def make_trial():
    """Makes a trial that has ended."""

    def make(name, phase=Phase.SEARCH, method="learned", arm="learned", outcome=Outcome.COMPLETE, metrics=None, **rest):
        values = Trial(name=name, phase=phase, arm=arm, method=method, epochs=5, **{"seed": 0, **rest})
        return TrialResult(trial=values, outcome=outcome, metrics=metrics or {})

    return make


@pytest.fixture
def drawn(monkeypatch):
    """The list to which every figure goes before it is saved."""
    figures, save = [], drawing.data_uri
    for module in (arms, distribution, epochs, objectives, settings):
        monkeypatch.setattr(module, "data_uri", lambda figure: (figures.append(figure), save(figure))[1])
    return figures
