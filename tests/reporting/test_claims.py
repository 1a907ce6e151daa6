"""Claims and the tests that decide them."""

import json

import pytest
import scipy.stats
import yaml

from mlbench.core.config_groups import conf_folder, entries
from mlbench.reporting.claims.base import Check, Claim, Runs, Verdict, combined_verdict, read_runs
from mlbench.reporting.claims.lecture import LECTURES, claims_named, parse_options, run_sweeps
from mlbench.runs.run_record import RunRecord

HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED
EVERY = [claim for claims in LECTURES.values() for claim in claims]


@pytest.mark.parametrize(
    ("values", "bound", "least", "expected"),
    [
        ([0.30, 0.32, 0.31], 0.2, True, HOLDS),
        ([0.30, 0.32, 0.31], 0.4, True, FAILS),
        ([0.10, 0.32, 0.31], 0.2, True, UNDECIDED),
        ([0.30, 0.32, 0.31], 0.2, False, FAILS),
        ([0.30, 0.32, 0.31], 0.4, False, HOLDS),
        ([0.9], 0.1, True, UNDECIDED),
        ([2.0, 2.0], 2.0, True, HOLDS),
        ([2.0, 2.0], 2.0, False, HOLDS),
        ([1.0, 1.0], 2.0, True, FAILS),
    ],
)
def test_the_interval_decides(values, bound, least, expected):
    assert Check("it", values, bound, least).verdict is expected


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.name)
def test_figures_over_a_setting_are_of_one_that_is_swept(claim):
    presets = (conf_folder() / "experiment" / f"{claim.name}.yaml").read_text()
    swept = {word.partition("=")[0] for command in claim.quick for word in command.split() if "," in word}
    swept |= {line.partition(":")[0].strip() for line in presets.splitlines() if "," in line}
    for figure in claim.figures:
        if figure.startswith("over_"):
            name = figure.removeprefix("over_").removesuffix(".png")
            assert name in {setting.rpartition(".")[2] for setting in swept}, figure


def test_the_verdict_is_that_of_a_t_test():
    """At the 2.5 % of each side, the p-values of scipy's one-sided tests."""
    values = [0.13, 0.21, 0.08, 0.19, 0.16]
    for bound in [step / 100 for step in range(0, 30)]:
        above = scipy.stats.ttest_1samp(values, bound, alternative="greater").pvalue <= 0.025
        below = scipy.stats.ttest_1samp(values, bound, alternative="less").pvalue <= 0.025
        assert Check("it", values, bound).verdict is (HOLDS if above else FAILS if below else UNDECIDED)


def test_all_checks_must_hold():
    holds, fails, open_ = Check("", [1, 1], 0), Check("", [1, 1], 2), Check("", [1], 0)
    assert combined_verdict([holds, holds]) is HOLDS
    assert combined_verdict([holds, open_]) is UNDECIDED
    assert combined_verdict([holds, open_, fails]) is FAILS
    assert combined_verdict([]) is UNDECIDED


def run(seed, technique, accuracy, strength=1.0):
    summary = {"technique": technique, "seed": seed, "metrics": {"accuracy": accuracy}, "costs": {"wall_seconds": 2.0}}
    return RunRecord(None, summary, {"lifelong": {"strength": strength}, "data": {"tasks": 3}})


def test_runs_are_selected_by_setting_and_paired_by_seed():
    runs = Runs([run(0, "a", 0.5), run(1, "a", 0.7), run(1, "b", 0.4), run(0, "b", 0.1), run(2, "b", 0.0)])
    assert runs.values("accuracy", {"technique": "a"}) == [0.5, 0.7]
    assert runs.values("wall_seconds", {"technique": "a", "data.tasks": 3}) == [2.0, 2.0]
    assert runs.differences("accuracy", {"technique": "a"}, {"technique": "b"}) == pytest.approx([0.4, 0.3])
    assert runs.values(lambda run: run.seed * 10, {"technique": "b"}) == [10, 0, 20]
    with pytest.raises(LookupError, match="no run"):
        runs.values("accuracy", {"lifelong.strength": 2.0})
    with pytest.raises(LookupError, match="two runs of seed 1"):
        runs.values("accuracy", {"data.tasks": 3})
    with pytest.raises(KeyError):
        runs.values("forgetting", {"technique": "a"})


def test_runs_are_read_from_their_folders_once(tmp_path):
    for name in ("done", "cut_off"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({"data": {"tasks": 2}}))
    who = {"schema": 1, "family": "compress", "technique": "prune", "data": "digits", "model": "mlp", "seed": 4}
    (tmp_path / "done" / "summary.json").write_text(json.dumps(who | {"metrics": {}, "costs": {}}))
    (tmp_path / "done" / "points.csv").write_text("step,accuracy\n0,.5\n1,.25\n")
    (found,) = read_runs([tmp_path / name for name in ("done", "cut_off", "done")]).all
    assert (found.seed, found.setting("data.tasks"), found.setting("data.tasks.more")) == (4, 2, None)
    assert [row["accuracy"] for row in found.rows("points.csv")] == [".5", ".25"]


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.name)
def test_every_claim_is_complete(claim):
    assert claim.name in entries("experiment"), "a preset of that name"
    assert claim.english.endswith(".")
    assert claim.chinese.endswith("。")
    for words in (*claim.quick, *claim.full):
        chosen = dict(word.split("=", 1) for word in words.split())
        assert chosen.get("experiment", claim.name) in entries("experiment")
    with pytest.raises(LookupError):
        claim.decide(Runs([]))


def test_names_are_one_claims_each():
    assert len({claim.name for claim in EVERY}) == len(EVERY)
    assert (conf_folder() / "experiment").is_dir()


def test_the_command_line():
    wanted = parse_options(["forgetting", "--quick", "--jobs=3", "out=here"])
    assert (wanted.names, wanted.quick, wanted.strict, wanted.jobs, wanted.out.name) == (
        ["forgetting"],
        True,
        False,
        3,
        "here",
    )
    assert claims_named([]) == EVERY
    assert [claim.name for claim in claims_named(["forgetting"])] == ["forgetting"]
    assert isinstance(EVERY[0], Claim)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["forgeting"], "did you mean 'forgetting'"),
        (["--fast"], "does not take --fast"),
        (["--jobs=0"], "allowed is 1 or more"),
        (["seed=1"], "does not take seed=1"),
    ],
)
def test_error_messages_have_two_lines(mlbench, words, part):
    code, _, error = mlbench("lecture", *words)
    assert code == 2
    assert part in error
    assert len(error.strip().splitlines()) <= 2


def test_the_error_for_a_folder_that_cannot_be_created_has_one_line(mlbench, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = mlbench("lecture", "filters", "--quick", f"out={tmp_path / 'file' / 'x'}", out=False)
    assert (code, "Not a directory" in error, len(error.splitlines())) == (2, True, 1)


def test_claims_are_run_tested_and_written_on_a_page(mlbench, tmp_path, monkeypatch):
    """One that holds, one that does not, and one whose command fails; what they share runs once."""
    tiny = "data.tasks=2 data.train_per_task=60 data.test_per_task=50 train.epochs=1 seed=0,1"

    def claim(name, words, bound):
        decide = lambda runs: [Check("size", runs.values("parameters", {"technique": "finetune"}), bound)]  # noqa: E731
        return Claim(name, "It is so & so.", "是这样。", (words,), (words,), decide, ("comparison.png",))

    words = f"experiment=forgetting lifelong=finetune {tiny}"
    claims = [claim("holds", words, 1), claim("fails", words, 1e9)]
    monkeypatch.setattr("mlbench.reporting.claims.lecture.LECTURES", {"Lifelong learning": claims})
    code, text, error = mlbench("lecture", "--quick")
    assert (code, error.count("mlbench -m")) == (0, 1)
    assert "does not hold" in text
    page = (tmp_path / "out" / "lecture" / "index.html").read_text()
    assert "2 claims" in page
    assert page.count("It is so &amp; so.") == 4
    assert page.count("data:image/png") == 2
    assert mlbench("lecture", "--quick", "--strict")[0] == 1
    assert mlbench("lecture", "holds", "--quick", "--strict")[0] == 0
    claims[:] = [claim("broken", f"{words} data.scenario=x", 1)]
    code, text, error = mlbench("lecture", "--quick")
    assert code == 2  # the user's mistake
    assert "no verdict for broken" in error
    assert "data.scenario=x" in error  # why, without a look into the log
    assert "not decided" in text


def test_commands_that_begin_alike_have_folders_of_their_own(tmp_path, monkeypatch):
    """Also where only their ends differ, as those of two halves of a comparison do."""
    seen = []
    monkeypatch.setattr(
        "mlbench.core.child_processes.ChildProcesses.call", lambda self, words, _: seen.append(words) or 0
    )
    long = "experiment=prune_small_steps " + " ".join(f"train.setting_{number}=1" for number in range(20))
    commands = [f"{long} compress.step={step}" for step in ("null", "0.2")]
    sweeps = run_sweeps(commands, tmp_path, 2)
    assert list(sweeps) == commands
    assert len({sweep.folder for sweep in sweeps.values()}) == 2
    assert len({word for words in seen for word in words if word.startswith("hydra.sweep.dir=")}) == 2
    assert all(len(sweep.folder.name) < 120 for sweep in sweeps.values())


def test_after_an_interruption_no_other_command_is_begun(tmp_path, monkeypatch):
    begun = []

    def interrupted(words, out, children):
        begun.append(words)
        raise KeyboardInterrupt

    monkeypatch.setattr("mlbench.reporting.claims.lecture.run_sweep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sweeps([str(number) for number in range(100)], tmp_path, 1)
    assert begun == ["0"]
