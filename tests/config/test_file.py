"""Reading a study file: YAML 1.2's plain values, overrides, the way back to text, and what is said of mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import (
    apply_overrides,
    check_study,
    read_study,
    to_yaml,
    with_absolute_paths,
)
from dabo_ray.config.key_paths import to_dict, with_settings, with_value
from dabo_ray.config.schema import StudyConfig

STUDIES = sorted((Path(__file__).resolve().parents[2] / "studies").glob("*.yaml"))
MINIMAL = "study: s\ndata: {name: digits}\n"
PYDANTIC_WORDS = ("Input should", "input should", "validation", "union", "value_error", "tuple", "dictionary", "valid ")


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_study(written(folder, text), overrides)
    return str(caught.value)


def single_problem(folder: Path, text: str) -> tuple[str, str]:
    """Key path and words of the only problem of a file."""
    first, *lines = complaint(folder, text).splitlines()
    assert first.endswith("has 1 problem:")
    assert len(lines) == 1, lines
    path, _, words = lines[0].strip().partition(": ")
    return path, words


def test_there_are_studies():
    assert "digits.yaml" in {path.name for path in STUDIES}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_read_back_as_they_were(path: Path, tmp_path: Path):
    study = read_study(path)
    assert check_study(to_dict(study), "again") == study
    assert read_study(written(tmp_path, to_yaml(study))) == study


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("1e-3", 1e-3),
        ("1e3", 1000.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1", 1.0),
        ("010", 10.0),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, plain: str, value: float):
    lr = read_study(written(tmp_path, MINIMAL + f"classifier: {{lr: {plain}}}")).classifier.lr
    assert math.isclose(lr, value)


@pytest.mark.parametrize("plain", ["no", "off", "y", "12:30", "2024-11-22", "1_000", "0x10", "null-result"])
def test_words_stay_words(tmp_path: Path, plain: str):
    assert read_study(written(tmp_path, MINIMAL + f"storage: {plain}")).storage == plain


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    assert read_study(written(tmp_path, "\ufeff" + MINIMAL)).study == "s"


@given(name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,12}\Z"), storage=st.text(min_size=1), uri=st.text())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, name: str, storage: str, uri: str):
    raw = {"study": name, "data": {"name": "digits"}, "storage": f"./{storage}".replace("://", ""), "database": uri}
    study = check_study(raw, "drawn")
    again = read_study(written(tmp_path_factory.getbasetemp(), to_yaml(study)))
    assert again == study


@pytest.mark.parametrize("name", ["1e3", "08", "0x1F", "true", "null", "12", "1_0", "2024-01-01", "no", "1.5", "0o7"])
def test_names_that_look_like_other_values_read_back(tmp_path: Path, name: str):
    study = check_study({"study": name, "data": {"name": "digits"}}, "here")
    assert read_study(written(tmp_path, to_yaml(study))).study == name


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("study: s\n", "data", ["missing", "data: {name: digits}"]),
        ("study: s\ndata:\n", "data", ["got nothing", "section", "name"]),
        ("study: s\ndata: digits\n", "data", ["'digits' (text)", "section", "name, import, root"]),
        ("study: s\ndata: {root: x}\n", "data.name", ["missing", "'digits'", "'fashion_mnist'"]),
        ("data: {name: digits}\n", "study", ["missing", "letters"]),
        ("study: 3\ndata: {name: digits}\n", "study", ["got 3", "text", "quotes"]),
        (MINIMAL + "classifier:\n", "classifier", ["got nothing", "remove the key", "epochs"]),
        (MINIMAL + "classifier: [1]\n", "classifier", ["[1] (a list)", "section"]),
        (MINIMAL + "classifier: {epohcs: 3}\n", "classifier.epohcs", ["unknown", "did you mean epochs?", "known keys"]),
        (MINIMAL + "inner_steps: 3\n", "inner_steps", ["did you mean bilevel.inner_steps?"]),
        (MINIMAL + "classifier: {truncation: 3}\n", "classifier.truncation", ["did you mean bilevel.truncation?"]),
        (MINIMAL + "classifier: {momentum: 1.5}\n", "classifier.momentum", ["1.5", "at least 0 and under 1"]),
        (MINIMAL + "classifier: {width: 12}\n", "classifier.width", ["12", "at least 8", "multiple of 8"]),
        (
            MINIMAL + "classifier: {milestones: [0.5]}\n",
            "classifier",
            ["milestones would not", "cosine", "set it to step"],
        ),
        (MINIMAL + "classifier: {schedule: constant, decay: 0.1}\n", "classifier", ["decay would not", "constant"]),
        (
            MINIMAL + "classifier: {schedule: step, milestones: [0.5, 0.5]}\n",
            "classifier.milestones",
            ["[0.5, 0.5]", "growing order"],
        ),
        (
            MINIMAL + "classifier: {schedule: step, milestones: [0.5, 1.0]}\n",
            "classifier.milestones.1",
            ["1.0", "over 0 and under 1"],
        ),
        (
            MINIMAL + "classifier: {schedule: step, milestones: 3}\n",
            "classifier.milestones",
            ["3 (a number)", "a list"],
        ),
        (MINIMAL + "classifier: {nesterov: yes}\n", "classifier.nesterov", ["'yes' (text)", "true or false"]),
        (MINIMAL + "classifier: {lr: '0.1'}\n", "classifier.lr", ["'0.1' (text)", "without quotes"]),
        (MINIMAL + "classifier: {lr: .inf}\n", "classifier.lr", ["inf", "finite"]),
        (MINIMAL + "classifier: {lr: true}\n", "classifier.lr", ["got true", "a number over 0"]),
        (MINIMAL + "resources: {workers: 5000}\n", "resources.workers", ["from 1 to 1024", "'local'"]),
        (MINIMAL + "resources: {concurrent_trials: all}\n", "resources.concurrent_trials", ["at least 1", "'auto'"]),
        (MINIMAL + "baselines: none\n", "baselines", ["'none' (text)", "a list", "'flip'"]),
        (MINIMAL + "baselines: [fliip]\n", "baselines.0", ["'fliip'", "'flip'", "'random_augmenter'"]),
        (
            MINIMAL + "augmenter: {hidden: [6, 0]}\n",
            "augmenter.hidden",
            ["[6, 0]", "at least 1 or a list", "at least 1"],
        ),
        (MINIMAL + "augmenter: {hidden: [6, 60], depth: 1}\n", "augmenter", ["depth is 1", "2 layers", "remove depth"]),
        (MINIMAL + "augmenter: {operations: [hue]}\n", "augmenter", ["['hue']", "affine has rotation, scale"]),
        (MINIMAL + "augmenter: {operations: []}\n", "augmenter.operations", ["a list", "null"]),
        (MINIMAL + "augmenter: {base: flip}\n", "augmenter.base", ["'flip' (text)", "a list", "'crop'"]),
        (MINIMAL + "augmenter: {base: [flip, fliip]}\n", "augmenter.base.1", ["'fliip'", "'flip'", "{name: ..., and"]),
        (MINIMAL + "augmenter: {base: [{name: crop, padding: 0}]}\n", "augmenter.base.0.padding", ["at least 1"]),
        (MINIMAL + "augmenter: {base: [{name: flip, verical: true}]}\n", "augmenter.base.0.verical", ["vertical?"]),
        (
            MINIMAL + "augmenter: {base: [flip, mixup]}\n",
            "augmenter.base",
            ["nor mixup or cutmix", "one class"],
        ),
        (MINIMAL + "augmenter: {base: [{name: cutmix}]}\n", "augmenter.base", ["neither compositions", "cutmix"]),
        (
            MINIMAL + "augmenter: {base: [{name: crop, tune: {padding: {int: [1, 4]}}}]}\n",
            "augmenter.base",
            ["may not have tune", "one value"],
        ),
        (MINIMAL + "augmenter: {base: [stn]}\n", "augmenter.base", ["nor networks", "hand-made"]),
        (
            MINIMAL + "augmenter: {base: [{name: compose, steps: [flip]}]}\n",
            "augmenter.base",
            ["neither compositions", "hand-made"],
        ),
        (MINIMAL + "augmenter: {noise: 5}\n", "augmenter", ["noise is 5", "needs 6 dimensions"]),
        (MINIMAL + "augmenter: {dropout: 1.0}\n", "augmenter.dropout", ["at least 0 and under 1"]),
        (MINIMAL + "baselines: [{name: foo}]\n", "baselines.0", ["the name 'foo'", "randaugment", "compose"]),
        (MINIMAL + "baselines: [{num_ops: 2}]\n", "baselines.0", ["has no name", "randaugment"]),
        (MINIMAL + "baselines: [{name: flip, verical: true}]\n", "baselines.0.verical", ["did you mean vertical?"]),
        (MINIMAL + "baselines: [{name: affine, scale: [2, 1]}]\n", "baselines.0", ["scale is [2, 1]", "over 0"]),
        (MINIMAL + "baselines: [{name: affine, scale: 2}]\n", "baselines.0.scale", ["2 (a number)", "[low, high]"]),
        (MINIMAL + "baselines: [{name: policy_file}]\n", "baselines.0.path", ["missing", "text"]),
        (MINIMAL + "baselines: [{name: augmenter_file}]\n", "baselines.0.path", ["missing", "text"]),
        (MINIMAL + "baselines: [{name: augmenter_file, path: ''}]\n", "baselines.0.path", ["text", "not empty"]),
        (
            MINIMAL + "baselines: [{name: compose, steps: [flip, {name: randaugment, magnitude: 31}]}]\n",
            "baselines.0.steps.1.magnitude",
            ["31", "from 0 to 30"],
        ),
        (
            MINIMAL + "baselines: [{name: compose, steps: [stn]}]\n",
            "baselines.0",
            ["neither compositions nor networks"],
        ),
        (MINIMAL + "storage: ''\n", "storage", ["not empty"]),
        ("study: s\ndata: {name: digits, num_labels: 3}\n", "data.num_labels", ["3", "at least 10 or null"]),
        (MINIMAL + "search: {space: [augmenter.lr]}\n", "search.space", ["(a list)", "{int: [low, high]}"]),
    ],
)
def test_what_is_said(tmp_path: Path, text: str, path: str, words: list[str]):
    place, said = single_problem(tmp_path, text)
    assert place == path
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "entry",
    [
        "3",
        "[1, 3]",
        "",
        "{}",
        "{foo: [1, 3]}",
        "{int: [1]}",
        "{int: [1, 2, 3]}",
        "{int: 3}",
        "{int: [a, b]}",
        "{int: [true, 4]}",
        "{int: [1.0, 2.0]}",
        "{float: ab}",
        "{int: [1, 3], float: [1, 3]}",
        "{int: [1, 3], lgo: true}",
        "{choice: []}",
        "{choice: 8}",
        "{choice: [8, [16]]}",
        "{choice: [8], log: true}",
    ],
)
def test_one_problem_for_an_entry_of_the_space(tmp_path: Path, entry: str):
    path, said = single_problem(tmp_path, MINIMAL + f"search: {{space: {{augmenter.hidden: {entry}}}}}")
    assert path == "search.space.augmenter.hidden"
    assert said.startswith("got ") and "{int: [low, high]}" in said and "{choice: [...]}" in said


@pytest.mark.parametrize(
    ("space", "path", "words"),
    [
        ("augmenter.hiden: {int: [1, 3]}", "augmenter.hiden", ["did you mean augmenter.hidden?"]),
        ("hidden: {int: [1, 3]}", "hidden", ["did you mean augmenter.hidden?"]),
        ("data.num_labels: {int: [10, 30]}", "data.num_labels", ["not a setting that can be searched"]),
        ("augmenter.base: {choice: [flip, crop]}", "augmenter.base", ["may draw augmenter.base 'flip'", "a list"]),
        ("bilevel.truncation: {int: [0, 3]}", "bilevel.truncation", ["may draw bilevel.truncation 0", "from 1 to 64"]),
        ("bilevel.truncation: {int: [1, 99]}", "bilevel.truncation", ["99", "from 1 to 64"]),
        ("bilevel.truncation: {float: [1, 3]}", "bilevel.truncation", ["1.0", "a whole number"]),
        ("augmenter.hidden: {choice: [8, big]}", "augmenter.hidden", ["'big' (text)", "a whole number"]),
        ("augmenter.lr: {float: [0, 1], log: true}", "augmenter.lr", ["low > 0"]),
        ("augmenter.hidden: {int: [5, 3]}", "augmenter.hidden", ["[5, 3]", "empty"]),
        ("augmenter.hidden: {choice: [8, 8]}", "augmenter.hidden", ["twice"]),
        # Both ends are multiples of eight, what lies between is not.
        ("classifier.width: {int: [8, 64]}", "classifier.width", ["9", "a multiple of 8"]),
        # Each is allowed by itself.
        (
            "classifier.momentum: {choice: [0, 0.9]}, classifier.nesterov: {choice: [true, false]}",
            "classifier.nesterov",
            ["classifier.momentum 0 (a number) with classifier.nesterov true", "needs momentum > 0"],
        ),
    ],
)
def test_what_the_search_may_draw(tmp_path: Path, space: str, path: str, words: list[str]):
    place, said = single_problem(tmp_path, MINIMAL + f"search: {{space: {{{space}}}}}")
    assert place == f"search.space.{path}"
    assert all(word in said for word in words), said


def test_every_problem_is_named_once(tmp_path: Path):
    text = """
study: a b
seed: x
data: {name: svhn, outer_fraction: 2, rot: 3}
classifer: {}
classifier: {name: vgg, lr: -1, momentum: 0, nesterov: true}
augmenter: {name: warp}
baselines: [foo, none]
final: {top: 9}
storage: s3://bucket
search: {pruner: {name: never}, space: {a.b: {int: [1, 2]}, augmenter.hidden: {int: [0, 2]}}}
"""
    first, *lines = complaint(tmp_path, text).splitlines()
    paths = [line.split(": ")[0].strip() for line in lines]
    assert len(set(paths)) == len(paths) == int(first.split()[-2])
    assert set(paths) == {
        "study",
        "seed",
        "data.name",
        "data.outer_fraction",
        "data.rot",
        "classifer",
        "classifier",
        "classifier.name",
        "classifier.lr",
        "augmenter.name",
        "baselines.0",
        "final.top",
        "storage",
        "search.pruner.name",
        "search.space.a.b",
        "search.space.augmenter.hidden",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study: [\n", "line 2"),
        ("study: s\ndata:\n\tname: digits\n", "line 3.*spaces, not tabs"),
        (MINIMAL + "study: t\n", "line 3: key 'study' stands twice"),
        ("study: s\ndata: {name: digits, name: cifar10}\n", "line 2: key 'name' stands twice"),
        (MINIMAL + "3: 4\n", "line 3: key 3 is not a word"),
        (MINIMAL + "[1]: 4\n", "line 3: key .* is not a word"),
        (MINIMAL + "storage: !!python/object/apply:os.getcwd []\n", "line 3: could not determine a constructor"),
        (MINIMAL + "---\nstudy: t\n", "line 3"),
        ("study: s\x00\n", "special characters are not allowed"),
        ("[" * 3000, "cannot be read"),
        (MINIMAL + "seed: " + "9" * 5000, "cannot be read"),
        ("", "is empty; a study needs at least"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "must hold `key: value` lines, got .*a list"),
        ("digits\n", "must hold `key: value` lines, got 'digits'"),
    ],
    ids=lambda value: value[:20],
)
def test_text_that_is_no_study(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        read_study(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


LONG = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_value_is_shown_in_short(tmp_path: Path):
    """Nested aliases make a billion items out of ten lines; the message must not write them out."""
    assert len(complaint(tmp_path, LONG + MINIMAL + "storage: *i\n")) < 5000


@pytest.mark.parametrize("broken", ["3", "x", "-1", "[]", "{}", "null", "true", "1.5", "'1'", "{a: b}", "[[1]]"])
def test_messages_are_for_people(tmp_path: Path, broken: str):
    """Whatever stands at whichever key: no traceback, and none of pydantic's phrases."""
    defaults = to_dict(read_study(written(tmp_path, MINIMAL)))
    for path in every_path(defaults):
        try:
            read_study(written(tmp_path, MINIMAL), [f"{path}={broken}"])
        except ConfigError as error:
            text = str(error).replace("not valid YAML", "")
            assert path in text
            assert not [words for words in PYDANTIC_WORDS if words in text], text


def every_path(sections: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in sections.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from every_path(value, f"{prefix}{key}.")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study", "key.path=value.*got 'study'"),
        ("=3", "key.path=value"),
        ("study.name=x", "--set study.name=x: 'study' is 's' .text., not a section"),
        ("data.name.x=1", "--set data.name.x=1: 'name' is 'digits'"),
        ("baselines=[none", r"--set baselines=\[none is not valid YAML"),
        ("search.trials=many", "with --set search.trials=many has 1 problem:\n  search.trials: got 'many'"),
        ("study=", "study: got nothing"),
        ("a..b=1", "a: unknown key"),
    ],
)
def test_overrides_that_cannot_be(tmp_path: Path, override: str, words: str):
    with pytest.raises(ConfigError, match=words):
        read_study(written(tmp_path, MINIMAL), [override])


def test_an_override_through_a_list_of_the_file(tmp_path: Path):
    said = complaint(tmp_path, MINIMAL + "search: {space: [a]}\n", "search.space.augmenter.lr={float: [0.1, 1]}")
    assert "'space' is ['a'] (a list), not a section" in said


def test_overrides_set_what_they_name(tmp_path: Path):
    study = read_study(
        written(tmp_path, MINIMAL),
        [
            "bilevel.inner_steps=4",
            "search.space.augmenter.lr={float: [1e-3, 1e-1], log: true}",
            "baselines=[none, flip]",
            "baselines=[flip]",
            "classifier.lr=1e-2",
            "storage=a=b",
        ],
    )
    assert study.bilevel.inner_steps == 4
    assert list(study.search.space) == ["augmenter.lr"]
    assert study.baselines == ["flip"]
    assert study.classifier.lr == 0.01
    assert study.storage == "a=b"


NAMES = st.sampled_from(["a", "b", "c"])
NESTED = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6).filter(
    lambda value: isinstance(value, dict)
)


@given(raw=NESTED, path=st.lists(NAMES, min_size=1, max_size=3), value=st.integers())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_override_changes_its_place_alone(raw: dict[str, Any], path: list[str], value: int):
    """Against the plain statement: copy, walk down, set."""
    import copy

    before = copy.deepcopy(raw)
    expected: Any = copy.deepcopy(raw)
    place = expected
    for part in path[:-1]:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place[path[-1]] = value
        assert with_value(raw, ".".join(path), value) == expected
        assert apply_overrides(raw, [f"{'.'.join(path)}={value}"]) == expected
    else:
        with pytest.raises(ConfigError, match="not a section"):
            with_value(raw, ".".join(path), value)
    assert raw == before


@given(inner_steps=st.integers(1, 99), lr=st.floats(1e-6, 1e3), hidden=st.integers(1, 500), centre=st.booleans())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_settings_of_a_trial_replace_those_of_the_study(inner_steps: int, lr: float, hidden: int, centre: bool):
    study = StudyConfig.model_validate({"study": "s", "data": {"name": "digits"}})
    drawn = {
        "bilevel.inner_steps": inner_steps,
        "augmenter.lr": lr,
        "augmenter.hidden": hidden,
        "augmenter.centre": "free" if centre else "identity",
    }
    new = to_dict(with_settings(study, drawn))
    old = to_dict(study)
    for key, value in drawn.items():
        section, name = key.split(".")
        assert new[section].pop(name) == value
        old[section].pop(name)
    assert new == old


@pytest.mark.parametrize("path", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str):
    with pytest.raises(ConfigError, match=r"cannot read the study file .*: (No such file|Is a directory)"):
        read_study(tmp_path / path)


def test_a_file_that_is_not_text(tmp_path: Path):
    (tmp_path / "study.yaml").write_bytes(b"study: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_study(tmp_path / "study.yaml")


def test_absolute_paths_are_those_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Trials run in folders of their own; what is elsewhere or empty stays."""
    monkeypatch.chdir(tmp_path)
    study = check_study({"study": "s", "data": {"name": "cifar10", "root": "data", "cache": "s3://b/c"}}, "here")
    found = with_absolute_paths(study)
    assert (found.data.root, found.data.cache, found.data.fold) == (str(tmp_path / "data"), "s3://b/c", "")
    assert found.classifier.weights == ""
    assert with_absolute_paths(found) == found


@pytest.mark.parametrize("name", ["policy_file", "augmenter_file"])
def test_files_of_baselines_are_found_from_other_folders_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    policy = {"name": name, "path": "p.json"}
    steps = ["flip", policy]
    baselines = ["none", policy, {"name": "compose", "label": "both", "steps": steps}]
    raw = {"study": "s", "data": {"name": "digits"}, "baselines": baselines, "augmenter": {"base": steps}}
    study = check_study(raw, "here")
    found = with_absolute_paths(study)
    assert to_dict(found)["augmenter"]["base"][1]["path"] == str(tmp_path / "p.json")
    assert to_dict(found)["baselines"][1]["path"] == str(tmp_path / "p.json")
    assert to_dict(found)["baselines"][2]["steps"][1]["path"] == str(tmp_path / "p.json")
    assert list(found.arms) == list(study.arms)
    assert with_absolute_paths(found) == found


def test_a_bound_without_a_number():
    raw = {"study": "s", "data": {"name": "digits"}}
    space = {"bilevel.truncation": {"int": [1, "bilevel.inner_steps"]}}
    with pytest.raises(ConfigError, match=r"truncation: is bounded by bilevel.inner_steps, which is null; give that"):
        check_study(raw | {"search": {"space": space}}, "f")
    numbered = {"search": {"space": space}, "bilevel": {"inner_steps": 4}}
    assert check_study(raw | numbered, "f").bilevel.inner_steps == 4


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (".=1", "a key has no name; write section.key: value with one of the keys study, seed"),
        ("final..top=1", "a key has no name; write section.key: value with one of the keys top, seeds"),
        ("search.trials=%x", "put a text with signs of YAML (% [ { : #) in quotes"),
        ("search.trials=[", "close what is open"),
        ("search.trials=" + "[" * 3000, "it is nested too deeply"),
        ("baselines=[" + "5," * 200 + "]", "has 200 problems:"),
    ],
)
def test_messages_about_what_cannot_be_read_are_for_people(tmp_path: Path, override: str, told: str):
    with pytest.raises(ConfigError) as caught:
        read_study(written(tmp_path, MINIMAL), [override])
    words = str(caught.value)
    assert told in words
    assert len(words.splitlines()) <= 25 and len(words.splitlines()[0]) < 1000
