"""The command on a tiny study, from its file to its report, with a worker group as in the README's first example."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS = ["baseline-none", "search-0000", "search-0001"] + [
    f"final-{arm}-seed-{seed}" for seed in range(2) for arm in ("none", "learned-1", "frozen-1")
]


@pytest.fixture(scope="module")
def finished(study_command, tmp_path_factory) -> tuple[Any, subprocess.CompletedProcess[str]]:
    """The command and what became of it."""
    command = study_command(tmp_path_factory.mktemp("quickstart"), "resources.workers=1", "final.seeds=2")
    return command, command.run()


def test_ends_well(finished):
    _, run = finished
    assert run.returncode == 0, run.stdout + run.stderr


def test_says_where_the_results_are(finished):
    _, run = finished
    for words in ("runs/tiny/report.html", "runs/tiny/results.csv", "ui --backend-store-uri", "runs/mlflow.db"):
        assert words in run.stdout
    assert re.search(r"none +.*\d+\.\d", run.stdout)


def test_a_pipe_gets_plain_lines_without_noise(finished):
    _, run = finished
    # What takes longer than a second is told with its time, and nothing else.
    assert all(re.fullmatch(r"[a-z]+ing [\w ]+, \d.*s", line) for line in run.stderr.splitlines()), run.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", run.stdout), "control characters"
    assert not re.search(r"(?i)warning|\bINFO\b|raylet|alembic|deprecat|pid=|StudyTrial", run.stdout)


def test_the_summary(finished):
    command, _ = finished
    summary = json.loads((command.results / "summary.json").read_text())
    assert summary["study"] == "tiny"
    complete = {phase: counts["COMPLETE"] for phase, counts in summary["phases"].items()}
    assert complete == {"baselines": 1, "search": 2, "final": 6}
    assert summary["wall_seconds"] > 0
    assert summary["best"] in ("none", "learned-1", "frozen-1")
    assert summary["provenance"] == json.loads((command.results / "provenance.json").read_text())
    methods = {arm["name"]: arm["method"] for arm in summary["arms"]}
    assert methods == {"none": "none", "learned-1": "learned", "frozen-1": "frozen"}
    for arm in summary["arms"]:
        assert set(arm) >= {"settings", "seeds", "select_score", "seconds", "cost_ratio"}
        accuracy = arm["test_score"]
        assert len(accuracy["values"]) == 2
        assert accuracy["mean"] == pytest.approx(sum(accuracy["values"]) / 2)
        assert accuracy["ci95"] >= 0


def test_the_tables_have_every_trial(finished):
    import pyarrow.parquet

    command, _ = finished
    with (command.results / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(command.results / "results.parquet").to_pylist()
    (column,) = (key for key in rows[0] if rows[0][key] == "baseline-none")
    assert sorted(row[column] for row in rows) == sorted(row[column] for row in table) == sorted(TRIALS)


def test_the_report_is_a_page(finished):
    command, _ = finished
    page = (command.results / "report.html").read_text()
    assert "Does the command work?" in page
    assert "learned-1" in page
    assert "http://" not in re.sub(r"http://(127\.0\.0\.1|www\.w3\.org)", "", page), "nothing is fetched"


def test_the_trials_leave_records_and_pictures(finished):
    command, _ = finished
    for name in TRIALS:
        folder = command.results / "trials" / name
        assert [record["epoch"] for record in json.loads((folder / "records.json").read_text())] == [1, 2]
        # A frozen trial augments with what another one learned and drew.
        has_network = "none" not in name and "frozen" not in name
        assert (folder / "samples.png").exists() == (folder / "augmenter.safetensors").exists() == has_network
        assert not list(folder.glob("*.pt"))


def test_mlflow_has_a_run_for_each_trial(finished):
    command, _ = finished
    parent, children = command.mlflow_runs()
    assert parent.info.status == "FINISHED"
    assert children == {name: ["FINISHED"] for name in TRIALS}


def test_is_not_started_over(finished):
    command, _ = finished
    again = command.run()
    assert again.returncode == 2
    assert "Add --resume" in again.stderr


def test_a_finished_study_shows_its_results_again(finished):
    command, run = finished
    again = command.run("--resume")
    assert again.returncode == 0, again.stderr
    table, table_again = (text[text.index("tiny: arms") : text.index("Report:")] for text in (run.stdout, again.stdout))
    assert table == table_again
    parent, children = command.mlflow_runs()
    assert parent.info.status == "FINISHED"
    assert children == {name: ["FINISHED"] for name in TRIALS}


def test_the_report_in_a_browser(finished, browser):
    command, _ = finished
    browser.get((command.results / "report.html").absolute().as_uri())
    assert "tiny" in browser.title
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) >= 5
    assert all(browser.execute_script("return arguments[0].naturalWidth", picture) > 0 for picture in pictures)
    assert "learned-1" in browser.find_element(By.TAG_NAME, "table").text
    assert browser.get_log("browser") == []


def test_mlflow_in_a_browser(finished, browser):
    """Arms side by side without a click; parent with its children; curves and the picture of a learned trial."""
    command, run = finished
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = shlex.split(re.search(r"MLflow UI: (.*)", run.stdout)[1])
    server = subprocess.Popen(
        [*words, "--port", str(port)],
        cwd=command.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = re.search(r"then open http://127.0.0.1:5000(\S+)", run.stdout)[1]
        wait = WebDriverWait(browser, 180, ignored_exceptions=(WebDriverException, OSError))
        wait.until(lambda _: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        browser.get(f"http://127.0.0.1:{port}{page}")
        for shown in ("learned-1", "frozen-1", "none", "Test accuracy (%)", "Training time (s)"):
            wait.until(lambda b, shown=shown: b.find_elements(By.XPATH, f"//*[text()='{shown}']"))
        browser.get(browser.find_element(By.LINK_TEXT, "Results and report").get_attribute("href"))
        child = wait.until(lambda b: b.find_element(By.LINK_TEXT, "final-learned-1-seed-0"))
        browser.get(child.get_attribute("href").partition("?")[0] + "/model-metrics?workflowType=machine_learning")
        for title in ("train_loss", "rotation_spread_deg", "test_accuracy", "samples"):
            wait.until(lambda b, title=title: b.find_elements(By.XPATH, f"//*[text()='{title}']"))
        picture = wait.until(lambda b: b.find_element(By.CSS_SELECTOR, "img[src*='get-artifact'], img[src^='blob:']"))
        wait.until(lambda b: b.execute_script("return arguments[0].naturalWidth", picture) > 0)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
