"""That lines can be told apart."""

from dabo_ray.reporting.figures import drawing


def test_learned_frozen_and_baselines_have_colours_of_their_own():
    baselines = [f"baseline-{number}" for number in range(12)]
    styles = dict(drawing.styled([*baselines, "frozen-1", "learned-2", "learned-1"]))
    assert list(styles)[:3] == ["learned-1", "learned-2", "frozen-1"]
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == len(styles)
    assert styles["learned-1"]["color"] == styles["learned-2"]["color"] == drawing.LEARNED_COLOUR
    assert styles["frozen-1"]["color"] == drawing.FROZEN_COLOUR
    others = {styles[name]["color"] for name in baselines}
    assert not others & {drawing.LEARNED_COLOUR, drawing.FROZEN_COLOUR}


def test_a_baseline_keeps_its_colour_whether_or_not_there_is_a_frozen_arm():
    names = ["learned", "affine", "flip", "none"]
    before, after = dict(drawing.styled(names)), dict(drawing.styled([*names, "frozen-1"]))
    assert all(before[name] == after[name] for name in names)
