"""The report of synthetic but complete study folders, read back the way a browser does."""

import base64
import io
import json
import re
import subprocess
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dabo_ray import report
from dabo_ray.analysis.results import summarize
from dabo_ray.analysis.wording import duration
from dabo_ray.augment import export
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.config.file import check_study, leading_comment, read_study
from dabo_ray.config.key_paths import to_dict
from dabo_ray.planning.plan import Plan
from dabo_ray.reporting import writer
from dabo_ray.reporting.samples import sample_grid
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

QUESTION = (
    "Question: on rotated digits, which inner-step count earns its cost?\nIt has a second line.\nRun: python -m x"
)
BASELINES = {"none": (72.0, 1.0), "flip_crop": (68.0, 1.1), "affine": (90.0, 1.2), "random_augmenter": (78.0, 1.3)}
STUDY = check_study(
    {"study": "digits", "data": {"name": "digits", "shift": {"rotation": 45}}, "baselines": ["none"]},
    "the test's study",
)
PROVENANCE = {"commit": "0f3c", "torch": "2.14.1", "tracking": "http://operator:hunter2@tracking.test/"}


class Study:
    """A study's folder under construction, its results and their records on disk."""

    def __init__(self, folder, seed=0):
        self.folder = folder
        self.results = []
        self.generator = np.random.default_rng(seed)
        folder.mkdir()

    def add(self, name, phase, arm, method, accuracy, *, cost=1.0, outcome=Outcome.COMPLETE, reason="", **trial):
        trial = Trial(name=name, phase=phase, arm=arm, method=method, epochs=30, **{"seed": 0, **trial})
        num_epochs = trial.epochs if outcome is Outcome.COMPLETE else 8
        measured = "test_accuracy" if phase is Phase.FINAL else "select_accuracy"
        records = []
        for epoch in range(1, num_epochs + 1):
            record = {
                "epoch": epoch,
                "seconds": 0.4 * cost * epoch,
                "train_loss": 2.3 * 0.9**epoch,
                "learning_rate": 0.1,
            }
            if phase is not Phase.FINAL or epoch == trial.epochs:
                reached = accuracy * (1 - 0.6 * 0.8**epoch) + self.generator.normal(0, 0.5)
                record[measured] = float(min(reached, 100))
            if method == "learned":
                spread = 26 * (1 - 0.9**epoch) + self.generator.normal(0, 1)
                record |= {"rotation_spread_deg": max(spread, 0.0), "scale_spread_percent": 4.0, "outer_loss": 1.0}
            records.append(record)
        home = self.folder / "trials" / name
        home.mkdir(parents=True)
        (home / "records.json").write_text(json.dumps(records))
        if method == "learned":
            before = (load_digits().images[:4, :, :, None] * 15.9).astype(np.uint8)
            after = np.stack([np.roll(before, shift, axis=2) for shift in (-2, -1, 1, 2)], axis=1)
            sample_grid(before, after, home / "samples.png")
            if phase is Phase.FINAL:
                augmenter = AffineAugmenter(operations=["rotation", "scale"])
                export.save(augmenter, home / "augmenter.safetensors")
        self.results.append(TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=records[-1]))

    def choose(self):
        """The baselines and a search of 14 trials, some pruned, one failed."""
        for method, (accuracy, cost) in BASELINES.items():
            self.add(f"baselines-{method}", Phase.BASELINES, method, method, accuracy, cost=cost)
        for at in range(14):
            outcome = Outcome.FAIL if at == 5 else Outcome.PRUNED if at % 3 == 1 else Outcome.COMPLETE
            settings = {
                "augmenter.hidden": int(self.generator.choice([6, 32, 128])),
                "augmenter.lr": float(10 ** self.generator.uniform(-3, 0)),
                "bilevel.inner_steps": int(self.generator.integers(1, 17)),
            }
            reason = {Outcome.FAIL: "diverged at epoch 8, step 3", Outcome.PRUNED: "pruned at epoch 8"}.get(outcome, "")
            accuracy, cost = 93 - 8 * at % 7, 1 + 3 / settings["bilevel.inner_steps"]
            name = f"search-{at:04}"
            self.add(
                name,
                Phase.SEARCH,
                "learned",
                "learned",
                accuracy,
                cost=cost,
                outcome=outcome,
                reason=reason,
                settings=settings,
            )
        return self

    def conclude(self, learned=(93.0, 92.5), baselines=BASELINES):
        """The final phase, three seeds per arm, one of which fails."""
        by_name = {result.trial.name: result.trial for result in self.results}
        for seed in (101, 102, 103):
            for rank, accuracy in enumerate(learned, 1):
                origin = by_name[f"search-{rank - 1:04}" if rank == 1 else "search-0003"]
                failed = (rank, seed) == (2, 103)
                self.add(
                    f"final-learned-{rank}-seed-{seed}",
                    Phase.FINAL,
                    f"learned-{rank}",
                    "learned",
                    accuracy,
                    cost=3.5,
                    seed=seed,
                    settings=origin.settings,
                    origin=origin.name,
                    outcome=Outcome.FAIL if failed else Outcome.COMPLETE,
                    reason="worker lost: node was preempted" if failed else "",
                )
            for method, (accuracy, cost) in baselines.items():
                name = f"final-{method}-seed-{seed}"
                origin = f"baselines-{method}"
                settings = {"baselines.affine.degrees": 15} if method == "affine" else {}
                self.add(
                    name, Phase.FINAL, method, method, accuracy, cost=cost, seed=seed, origin=origin, settings=settings
                )
        return self

    def write(self, question=QUESTION):
        self.summary = summarize("digits", self.results, 251.7, PROVENANCE)
        path = writer.write_report(self.folder, STUDY, question=question, results=self.results, summary=self.summary)
        assert path == self.folder / "report.html"
        return Page(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What a browser would see: pictures, table cells, text, tags."""

    VOID = ("meta", "img", "br", "wbr", "link")

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.tags, self.pictures, self.tables, self.words = (html, [], [], [], {}, [])
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(attrs)
        elif tag == "table":
            self.rows = self.tables[attrs["id"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("runs") / "digits").choose().conclude()
    study.page = study.write()
    return study


def test_question_and_answer_come_first(finished):
    text = finished.page.text
    assert text.index("On rotated digits, which inner-step count earns its cost? It has a second line.") < text.index(
        finished.summary["answer"]
    )
    assert text.index(finished.summary["answer"]) < text.index("Arms")
    assert ("html", {"lang": "en"}) in finished.page.tags
    assert any(attrs.get("name") == "viewport" for _, attrs in finished.page.tags)


def test_every_picture_loads_and_says_what_it_is(finished):
    kinds = {"svg+xml": 0, "png": 0}
    for picture in finished.page.pictures:
        head, data = picture["src"].split(";base64,")
        kind = head.removeprefix("data:image/")
        content = base64.b64decode(data, validate=True)
        if kind == "png":
            Image.open(io.BytesIO(content)).load()
        else:
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        kinds[kind] += 1
        assert len(picture["alt"]) > 20
    # Arms, cost, rotation and truth, all draws of two arms, two spreads, curves, losses, three settings, all of them;
    # the seeds of two arms; a grid for each learned seed that is complete.
    assert kinds == {"svg+xml": 15, "png": 5}


def test_every_figure_stands_under_its_heading(finished):
    headings = ["Accuracy and cost", "What was learned", "What the augmentation does to images", "Training"]
    headings.append("What the settings do")
    places = [finished.page.text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert places[1] < finished.page.text.index("Learned and true rotation (degrees)") < places[2]


def test_comparisons_are_those_of_the_summary(finished):
    header, *rows = finished.page.tables["comparisons"]
    assert len(rows) == len(finished.summary["comparisons"]) == 7
    for row, found in zip(rows, finished.summary["comparisons"], strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["arm"] == found["arm"]
        assert found["reference"] in cells["against"]
        assert float(cells["difference (points)"]) == pytest.approx(found["difference"], abs=0.0051)
        low, high = cells["95 % interval"].split(" to ")
        assert (float(low), float(high)) == pytest.approx((found["low"], found["high"]), abs=0.0051)
        assert found["verdict"] in cells["verdict"]


def test_the_file_needs_no_network(finished):
    for tag, attrs in finished.page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert attrs.get("src", "data:").startswith("data:")
        # Links lead to files beside the report, and nothing is fetched unless one is followed.
        assert attrs.get("href", "trials/").startswith("trials/")
    assert "url(" not in finished.page.html
    assert "@import" not in finished.page.html


def test_arms_are_those_of_the_summary(finished):
    header, *rows = finished.page.tables["arms"]
    assert len(rows) == len(finished.summary["arms"])
    for row, arm in zip(rows, finished.summary["arms"], strict=True):
        cells, accuracy = dict(zip(header, row, strict=True)), arm["test_score"]
        mean, low, high = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", cells["test accuracy (%)"]).groups()
        assert float(mean) == pytest.approx(accuracy["mean"], abs=0.0051)
        assert float(low) == pytest.approx(accuracy["mean"] - accuracy["ci95"], abs=0.0051)
        assert float(high) == pytest.approx(min(100, accuracy["mean"] + accuracy["ci95"]), abs=0.0051)
        assert [float(value) for value in cells["each seed (%)"].split()] == pytest.approx(
            accuracy["values"], abs=0.0051
        )
        assert cells["arm"].startswith(arm["name"])
        assert int(cells["seeds"]) == len(arm["seeds"])
        assert float(cells["select (%)"]) == pytest.approx(arm["select_score"], abs=0.0051)
        assert float(cells["cost"]) == pytest.approx(arm["cost_ratio"], abs=0.0051)
        assert all(f"{key.removeprefix('baselines.affine.')} = " in cells["arm"] for key in arm["settings"])
        assert ("degrees = 15" in cells["arm"]) == (arm["name"] == "affine")
        assert "baselines." not in cells["arm"]
    assert dict(zip(header, rows[0], strict=True))["time"] == "42.0 s"


def test_trials_failures_outcomes_and_provenance(finished):
    header, *rows = finished.page.tables["trials"]
    assert header[3:6] == ["augmenter.hidden", "augmenter.lr", "bilevel.inner_steps"]
    assert len(rows) == 18
    accuracies = [float(row[1]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert ["search-0005learned, seed 0", "diverged at epoch 8, step 3"] in finished.page.tables["failures"]
    assert ["final-learned-2-seed-103learned-2, seed 103", "worker lost: node was preempted"] in finished.page.tables[
        "failures"
    ]
    searched = sum(r.metrics["seconds"] for r in finished.results if r.trial.phase is Phase.SEARCH)
    assert finished.page.tables["phases"] == [
        ["phase", "running", "complete", "pruned", "failed", "training time"],
        ["baselines", "0", "4", "0", "0", "55.2 s"],
        ["search", "0", "8", "5", "1", duration(searched)],
        ["final", "0", "17", "0", "1", "6 min 27 s"],
    ]
    provenance = dict(finished.page.tables["provenance"])
    assert provenance == {
        "wall time": "4 min 12 s",
        "commit": "0f3c",
        "torch": "2.14.1",
        "tracking": "http://tracking.test/",
    }
    assert "not finished" not in finished.page.text


def test_a_seed_that_failed_did_not_reach_the_end(finished):
    (picture,) = [p for p in finished.page.pictures if p["alt"].startswith("Learned rotation spread")]
    whole = [r for r in finished.results if r.trial.method == "learned" and r.outcome is Outcome.COMPLETE]
    spreads = [r.metrics["rotation_spread_deg"] for r in whole if r.trial.phase is Phase.FINAL]
    assert len(spreads) == 5
    assert f"At the end {np.mean(spreads):.1f} over all seeds" in picture["alt"]


def test_a_seed_that_did_not_converge_is_named(tmp_path):
    study = Study(tmp_path / "digits").choose().conclude()
    page = study.write()
    header, *rows = page.tables["learned"]
    assert header == ["trial", "outer loss", "median of the others", "learned spreads", "learning"]
    assert [row[:3] + row[4:] for row in rows] == [
        *([f"final-learned-1-seed-{seed}", "1.000", "1.000", "as the others"] for seed in (101, 102, 103)),
        # Its third seed failed, and two cannot tell which of them is wrong.
        *([f"final-learned-2-seed-{seed}", "1.000", "\u2013", "\u2013"] for seed in (101, 102)),
    ]
    assert rows[0][3].startswith("rotation ") and rows[0][3].endswith(" degrees, scale 4.0 %")
    assert "did not converge" not in page.text.replace("counts as not converged", "")
    lost = next(at for at, r in enumerate(study.results) if r.trial.name == "final-learned-1-seed-102")
    result = study.results[lost]
    study.results[lost] = replace(result, metrics={**result.metrics, "outer_loss": 4.0, "scale_spread_percent": 9.0})
    page = study.write()
    warning = (
        "The trial final-learned-1-seed-102 did not converge: outer loss 4.00 against a median of 1.00 of the other "
        "seeds; it learned scale 9.0 % (others 4.0)."
    )
    assert page.text.index(warning) < page.text.index("Arms")
    assert [row[-1] for row in page.tables["learned"][1:4]] == ["as the others", "▼ did not converge", "as the others"]


def test_final_trials_stand_by_arm_and_seed_with_links(finished):
    header, *rows = finished.page.tables["finals"]
    assert header == ["trial", "test (%)", "outcome", "outer loss", "time", "files"]
    names = [row[0] for row in rows]
    ranked = [arm["name"] for arm in finished.summary["arms"]]
    assert names == [f"final-{arm}-seed-{seed}" for arm in ranked for seed in (101, 102, 103)]
    links = [attrs["href"] for tag, attrs in finished.page.tags if tag == "a"]
    assert "trials/final-learned-1-seed-102/samples.png" in links
    assert all((finished.folder / link).is_file() for link in links)


def test_captions_are_not_repeated(finished):
    shown = finished.page.html.split("<figcaption>")[1:]
    captions = [part.partition("</figcaption>")[0] for part in shown]
    assert len(set(captions)) == len(captions)
    assert sum("Standard deviation of the distribution" in caption for caption in captions) == 1


def test_a_study_of_settings_begins_with_them(tmp_path, monkeypatch):
    search = {"space": {"augmenter.hidden": {"choice": [6, 32, 128]}}}
    settings = check_study({**to_dict(STUDY), "question": "settings", "search": search}, "the test's study")
    monkeypatch.setitem(globals(), "STUDY", settings)
    page = Study(tmp_path / "digits").choose().conclude().write()
    header, *rows = page.tables["settings"]
    assert header[:4] == ["setting", "value", "trials", "select (%)"]
    assert {row[0] for row in rows} >= {"augmenter.hidden", "augmenter.lr", "bilevel.inner_steps"}
    places = [page.text.index(words) for words in ("Effects of the settings", "Which is better", "Accuracy and cost")]
    assert places == sorted(places)
    assert page.text.index("What the settings do") < places[2]


def test_hostile_text_stays_text(tmp_path):
    evil = "<script>alert(1)</script>\"'&{{ 7 * 7 }}$x_1"
    study = Study(tmp_path / "digits").choose().conclude(baselines={})
    trial = Trial(
        name="search-evil", phase=Phase.SEARCH, arm=evil, method=evil, settings={evil: evil}, seed=0, epochs=1
    )
    scored = Trial(name="final-evil", phase=Phase.FINAL, arm=evil, method=evil, settings={evil: evil}, seed=0, epochs=1)
    study.results += [
        TrialResult(trial=trial, outcome=Outcome.FAIL, reason=evil),
        TrialResult(trial=scored, outcome=Outcome.COMPLETE, metrics={"test_accuracy": 5.0, "seconds": 1.0}),
    ]
    study.summary = summarize(evil, study.results, None, {evil: evil})
    path = writer.write_report(study.folder, STUDY, question=evil, results=study.results, summary=study.summary)
    page = Page(path.read_text(encoding="utf-8"))
    assert not any(tag == "script" for tag, _ in page.tags)
    assert [f"search-evil{evil}, seed 0", evil] in page.tables["failures"]
    assert page.tables["arms"][-1][0] == f"{evil}{evil} = {evil}"
    assert [evil, evil] in page.tables["provenance"]


def test_report_of_a_study_that_has_not_begun(tmp_path):
    page = Study(tmp_path / "digits").write(question="")
    assert "No answer yet" in page.text
    assert "not finished" in page.text
    assert page.pictures == []
    assert list(page.tables) == ["phases", "provenance"]


def test_report_before_the_final_phase_shows_the_best_trial_so_far(tmp_path):
    study = Study(tmp_path / "digits").choose()
    page = study.write()
    assert "No answer yet" in page.text
    assert "arms" not in page.tables
    grids = [picture for picture in page.pictures if "image/png" in picture["src"]]
    best = next(row[0] for row in page.tables["trials"] if row[0].startswith("search"))
    assert len(grids) == 1
    assert best in grids[0]["alt"]


def test_unreadable_records_and_pictures_are_told_and_skipped(tmp_path):
    study = Study(tmp_path / "digits").choose()
    (study.folder / "trials" / "search-0000" / "records.json").write_text('[{"epoch": 1, "sel')
    (study.folder / "trials" / "search-0002" / "records.json").write_text("[3]")
    for picture in study.folder.glob("trials/*/samples.png"):
        picture.write_bytes(b"")
    page = study.write()
    assert "records of 2 trials could not be read" in page.text
    assert "search-0000, search-0002" in page.text
    assert not any("image/png" in picture["src"] for picture in page.pictures)


def test_long_tables_are_cut_and_say_so(tmp_path):
    study = Study(tmp_path / "digits")
    for at in range(writer.MAX_ROWS + 50):
        trial = Trial(name=f"search-{at:04}", phase=Phase.SEARCH, arm="learned", method="learned", seed=0, epochs=1)
        study.results.append(TrialResult(trial=trial, outcome=Outcome.FAIL, reason="out of memory"))
    page = study.write()
    assert len(page.tables["trials"]) == len(page.tables["failures"]) == writer.MAX_ROWS + 1
    assert "100 of 150; results.csv has them all" in page.text


def test_leading_comment_and_paragraphs():
    text = "# Question: what\n#   is it?\n#\n# More.\n# Run: this\nstudy: digits\n# not this\n"
    assert leading_comment(text) == "Question: what\nis it?\n\nMore.\nRun: this"
    assert writer.question_paragraphs(leading_comment(text)) == ["What is it?", "More.", "Run: this"]
    assert leading_comment("study: digits\n") == ""
    assert writer.question_paragraphs("") == []


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`main` on a study folder whose plan holds a finished study."""
    study = Study(tmp_path / "digits").choose().conclude()
    (study.folder / "study.yaml").write_text(
        "# Question: does it help?\nstudy: digits\ndata: {name: digits, shift: {rotation: 45}}\n"
        "baselines: [none, flip_crop, affine, random_augmenter]\n"
    )
    (study.folder / "plan.db").touch()
    plan = types.ModuleType("dabo_ray.planning.plan")
    plan.read_results = lambda study_dir: study.results if study_dir == study.folder else []
    monkeypatch.setitem(sys.modules, "dabo_ray.planning.plan", plan)
    return study


def test_command_writes_the_report(command, capsys):
    (command.folder / "provenance.json").write_text('{"commit": "0f3c"}')
    (command.folder / "summary.json").write_text('{"wall_seconds": 61.0}')
    assert report.main([str(command.folder)]) == 0
    assert capsys.readouterr().out.strip() == str(command.folder / "report.html")
    page = Page((command.folder / "report.html").read_text(encoding="utf-8"))
    assert "Does it help?" in page.text
    assert page.tables["provenance"] == [["wall time", "1 min 1 s"], ["commit", "0f3c"]]


def test_command_needs_neither_provenance_nor_an_earlier_summary(command):
    assert report.main([str(command.folder)]) == 0
    page = Page((command.folder / "report.html").read_text(encoding="utf-8"))
    assert page.tables["provenance"] == [["wall time", "\u2013"]]


def test_command_names_a_file_it_cannot_read(command, capsys):
    (command.folder / "provenance.json").write_text('{"commit": ')
    assert report.main([str(command.folder)]) == 2
    assert "provenance.json is not valid JSON" in capsys.readouterr().err
    assert not (command.folder / "report.html").exists()


def test_command_reads_the_plan_of_a_real_study(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "study.yaml").write_text("# Does it help?\nstudy: digits\ndata: {name: digits}\n")
    started = Plan(read_study(folder / "study.yaml"), f"sqlite:///{folder / 'plan.db'}").next()
    assert isinstance(started, Trial)
    assert report.main([str(folder)]) == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "Does it help?" in page.text
    assert [row[0] for row in page.tables["trials"][1:]] == [started.name]
    assert "not finished" in page.text


def test_command_tells_what_is_wrong_with_the_study_file(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text("")
    (tmp_path / "plan.db").touch()
    assert report.main([str(tmp_path)]) == 2
    assert "study.yaml is empty" in capsys.readouterr().err


def test_command_refuses_what_is_no_study(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, told in (("empty", "it lacks study.yaml, or plan.db and trials/"), ("gone", "there is no such folder")):
        command = [sys.executable, "-m", "dabo_ray.report", str(tmp_path / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{tmp_path / folder} is not the folder of a study: {told}.")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_everything_loads_and_fits(finished, browser, width):
    """On a desk and on a phone: no error, no missing picture, nothing wider than the window."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((finished.folder / "report.html").as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
    )
    assert len(pictures) == len(finished.page.pictures)
    assert all(complete and natural > 0 and right <= width for complete, natural, right in pictures)


@pytest.mark.slow
def test_in_a_browser_text_stands_out_from_what_is_behind_it(finished, browser):
    """At least 4.5 to 1 everywhere, as the accessibility guidelines ask (WCAG 2.1, 1.4.3), in light and in dark."""
    browser.get((finished.folder / "report.html").as_uri())
    for scheme in ("light", "dark"):
        feature = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
        colours = browser.execute_script(COLOURS)
        assert len(colours) > 100
        low = [(text, contrast(*pair)) for text, *pair in colours if contrast(*pair) < 4.5]
        assert not low, (scheme, low[:5])


COLOURS = """
const seen = [];
for (const element of document.querySelectorAll("body *")) {
  const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
  if (!text) continue;
  let behind = element;
  const clear = e => /rgba\\(.*, 0\\)/.test(getComputedStyle(e).backgroundColor);
  while (behind.parentElement && clear(behind)) behind = behind.parentElement;
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = getComputedStyle(behind).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const below = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  canvas.fillStyle = getComputedStyle(element).color;
  canvas.fillRect(0, 0, 1, 1);
  seen.push([text, [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3), below]);
}
return seen;
"""
"""Every text of a page, its colour, and the colour behind it."""


def contrast(*colours):
    """Of two colours, by the formula of WCAG 2.1."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    light, dark = sorted(map(luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)
