"""Policy files: two notations, and files that hold something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dabo_ray.augment.fast_autoaugment_file import PolicyFileError, read_policy

POLICY = [[("Invert", 0.1, 0.5), ("Color", 0.9, 0.2)], [("ShearX", 1, 0.0)]]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [repr(POLICY), json.dumps(POLICY), f"\n  {POLICY!r}\n", repr(tuple(POLICY))])
def test_reads_both_notations(tmp_path: Path, text: str):
    assert read_policy(written(tmp_path, text)) == POLICY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither JSON nor a Python literal"),
        ("[[", "neither JSON nor a Python literal"),
        ("[" * 100_000, "neither JSON nor a Python literal"),
        ("[]", "holds no sub-policies; give a list of sub-policies"),
        ("{}", "holds no sub-policies"),
        ("3", "holds no sub-policies"),
        ("[3]", "sub-policy 0: 3 is not a list of operations"),
        ("[[]]", r"sub-policy 0: \[\] is not a list of operations"),
        ("[['Invert', 0.1, 0.5]]", r"sub-policy 0, operation 0: 'Invert' is not \[operation, probability, level\]"),
        ("[[('Invert', 0.1)]]", r"operation 0: \('Invert', 0.1\) is not"),
        ("[[('Warp', 0.1, 0.5)]]", "no operation 'Warp'; known: ShearX, .*, CutoutAbs"),
        ("[[(['a'], 0.1, 0.5)]]", r"no operation \['a'\]"),
        ("[[('Invert', 1.1, 0.5)]]", "the probability 1.1 is not a number from 0 to 1"),
        ("[[('Invert', 0.1, -1)]]", "the level -1 is not a number from 0 to 1"),
        ("[[('Invert', True, 0.5)]]", "the probability True is not a number"),
        ('[[["Invert", NaN, 0.5]]]', "the probability nan is not a number"),
        ("[[('Invert', 0.1, '0.5')]]", "the level '0.5' is not a number"),
    ],
)
def test_what_is_no_policy(tmp_path: Path, text: str, words: str):
    with pytest.raises(PolicyFileError, match=rf"(?s){words}"):
        read_policy(written(tmp_path, text))


def test_a_file_is_read_and_never_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyFileError, match="neither JSON nor a Python literal"):
        read_policy(written(tmp_path, "__import__('os').system('touch pwned')"))
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_problems_are_named_together_but_not_by_the_thousand(tmp_path: Path):
    with pytest.raises(PolicyFileError) as caught:
        read_policy(written(tmp_path, repr([[("Warp", 2, 3)]] * 1000)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    assert lines[-1] == "  and 2995 more"


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(PolicyFileError, match=r"cannot read the policy .*absent: No such file"):
        read_policy(tmp_path / "absent")
    with pytest.raises(PolicyFileError, match=r"cannot read the policy .*Is a directory"):
        read_policy(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyFileError, match="not UTF-8 text"):
        read_policy(tmp_path / "binary")
    (tmp_path / "long").write_text(" " * 10_000_001)
    with pytest.raises(PolicyFileError, match="over 10000000 bytes"):
        read_policy(tmp_path / "long")
