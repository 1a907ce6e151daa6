"""A deployed model: drift, corrections, and metrics."""

import json

import numpy as np
import pytest
import torch

from mlbench.core.errors import SettingError
from mlbench.core.rng import Draws
from mlbench.data.datasets.digits import Digits
from mlbench.data.scenarios.feedback import Feedback, add_noise, reduce_contrast, rotate
from mlbench.data.split import Split
from mlbench.data.stream import Corrections
from mlbench.lifelong.deployment import Deployment
from tests.experiment.test_runs import FEW_STEPS, METHODS, folders, only_run, summary

FEEDBACK = ("data=feedback_digits", "data.rounds=3", "data.original=200", "data.per_round=50", "train.epochs=2")


def feedback_stream(**changes):
    values = {
        "source": Digits(), "drift": "rotation", "severity": 1.0, "rounds": 4, "original": 100, "per_round": 40,
        "test_per_task": None, "feedback": "errors", "feedback_rate": 0.5,
    }  # fmt: skip
    return Feedback(**{**values, **changes}).stream(None, torch.Generator().manual_seed(0))


def raw(split):
    return split.raw(torch.arange(len(split)))


def test_drift_grows_evenly_and_no_picture_is_used_twice():
    plain, turned = feedback_stream(severity=0.0), feedback_stream()
    pictures = torch.cat([raw(task.train) for task in plain.tasks]).flatten(1)
    assert len(pictures.unique(dim=0)) == 100 + 4 * 40
    assert torch.equal(raw(plain.tasks[0].train), raw(turned.tasks[0].train))
    last = np.rot90(raw(plain.tasks[4].train).numpy(), 1, axes=(2, 3))
    assert np.array_equal(raw(turned.tasks[4].train).numpy(), last)  # 90 degrees in the last round
    assert len({id(task.train.pool) for task in turned.tasks}) == 1
    together = Split.union([task.train for task in turned.tasks])
    assert torch.equal(raw(together)[:100], raw(turned.tasks[0].train))


def test_drifts_are_what_they_say():
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((400, 1, 8, 8), 128, dtype=torch.uint8)
    spread = add_noise(grey, 0.25, generator).float().std().item()
    assert spread == pytest.approx(32, rel=0.02)
    pictures = torch.tensor([0, 100, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert reduce_contrast(pictures, 1.0, generator).flatten().tolist() == [115, 125, 140]
    assert torch.equal(reduce_contrast(pictures, 0.0, generator), pictures)
    assert torch.equal(rotate(pictures, 0.0, generator), pictures)


def test_new_classes_come_round_by_round():
    stream = feedback_stream(drift="classes", rounds=5, per_round=120)
    assert [sorted(task.train.labels.unique().tolist()) for task in stream.tasks] == [
        list(range(5 + i)) for i in range(6)
    ]
    assert stream.tasks[5].train.labels.bincount().max() < 40  # the newest class does not crowd out the others
    tested = [
        int(task.test.labels.max()) + 1 for task in feedback_stream(drift="classes", rounds=5, severity=0.4).tasks
    ]
    assert tested == [5, 5, 6, 6, 7, 7]


def test_too_many_inputs_are_refused():
    with pytest.raises(SettingError, match="per_round=400: allowed is at most 137 here"):
        feedback_stream(per_round=400, rounds=4)


def test_only_wrong_answers_are_corrected_and_only_a_share_of_them():
    wrong = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    generator = torch.Generator().manual_seed(0)
    half = Corrections(0.5, "errors").chosen(wrong, generator)
    assert len(half) == 2
    assert wrong[half].all()
    assert Corrections(1.0, "errors").chosen(wrong, generator).tolist() == [0, 2, 3, 5]
    assert Corrections(1.0, "random").chosen(wrong, generator).tolist() == list(range(6))
    assert len(Corrections(0.0, "random").chosen(wrong, generator)) == 0


@pytest.mark.parametrize("of", ["errors", "random"])
def test_whose_turn_it_is_to_correct_is_drawn(of):
    """Each of the eight alike; the same turns for the same generator, whatever else is right."""
    wrong = torch.arange(16) % 2 == 0
    chosen = [Corrections(0.25, of).chosen(wrong, torch.Generator().manual_seed(seed)) for seed in range(2000)]
    counts = torch.cat(chosen).bincount(minlength=16)[wrong]
    assert (counts > 400).all()
    assert (counts < 600).all()
    again = Corrections(0.25, of).chosen(wrong, torch.Generator().manual_seed(7))
    assert torch.equal(again, chosen[7])


def always_three(net, batch):
    return torch.nn.functional.one_hot(torch.full_like(batch.y, 3), 10).float()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_deployment_counts_and_labels_by_hand(rate):
    stream = feedback_stream(feedback_rate=rate)
    deployment = Deployment(stream, Draws(0, torch.device("cpu")))
    first = stream.tasks[1].train
    online = deployment.serve(1, torch.nn.Identity(), always_three, asks=True)
    assert online == pytest.approx((first.labels == 3).float().mean().item())
    learned = deployment.learnable(stream.tasks[1]).train
    assert sorted(learned.rows.tolist()) == sorted(first.rows[first.labels != 3].tolist() if rate else [])
    assert len(deployment.learnable(stream.tasks[0]).train) == (100 if rate else 0)  # no news, nothing to learn
    assert len(deployment.learnable(stream.tasks[2]).train) == 0
    deployment.serve(2, torch.nn.Identity(), always_three, asks=True)
    matrix = [None, [0.9, 0.1, 0.1], [0.8, 0.6, 0.2], [0.7, 0.5, 0.5]]
    matrix[0] = [0.1, 0.1, 0.1]
    result = deployment.scores(matrix)
    assert result["original_accuracy"] == 0.7
    assert result["round_accuracy"] == pytest.approx(0.55)
    assert result["online_accuracy"] == pytest.approx(np.mean(deployment.online))
    assert result["labels_used"] == sum(deployment.labels)
    assert deployment.rows(matrix)[1][2:] == [0.7, 0.5, deployment.labels[1]]
    other = Deployment(stream, Draws(0, torch.device("cpu")))
    other.load_state(deployment.state())
    assert torch.equal(other.labelled, deployment.labelled)


def test_corrections_are_the_same_for_the_same_answers():
    stream, labelled = feedback_stream(), []
    for _ in range(2):
        deployment = Deployment(stream, Draws(5, torch.device("cpu")))
        deployment.serve(2, torch.nn.Identity(), always_three, asks=True)
        labelled.append(deployment.labelled)
    assert torch.equal(*labelled)


@pytest.mark.usefixtures("figures")
def test_a_run_leaves_rounds_and_their_figure(mlbench, tmp_path):
    code, _, error = mlbench("lifelong=finetune", *FEEDBACK)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    header, *rows = (folder / "rounds.csv").read_text().splitlines()
    assert header == "round,online_accuracy,original_accuracy,round_accuracy,labels"
    online = [float(row.split(",")[1]) for row in rows]
    result = summary(folder)
    assert result["metrics"]["online_accuracy"] == pytest.approx(np.mean(online))
    errors = sum(round(0.5 * round((1 - value) * 50)) for value in online)
    assert result["metrics"]["labels_used"] == errors
    assert result["costs"]["samples_processed"] == 2 * (200 + errors)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["value"] for line in lines if line["metric"] == "online_accuracy"] == online
    assert (folder / "figures" / "rounds.png").stat().st_size > 5000


def test_frozen_learns_the_original_data_alone_and_no_labels_is_as_good(mlbench, tmp_path):
    assert mlbench("lifelong=frozen", *FEEDBACK)[0] == 0
    assert mlbench("lifelong=finetune", *FEEDBACK, "data.feedback_rate=0")[0] == 0
    result = {f.parent.name.partition("-")[0]: summary(f)["metrics"] for f in folders(tmp_path / "out")}
    assert result["frozen"]["labels_used"] == 0
    assert result["frozen"] == result["finetune"]


def test_cumulative_learns_every_label_received_and_no_other(mlbench, tmp_path):
    assert mlbench("lifelong=cumulative", *FEEDBACK)[0] == 0
    folder = only_run(tmp_path / "out")
    labels = [int(row.split(",")[4]) for row in (folder / "rounds.csv").read_text().splitlines()[1:]]
    seen = sum(200 + sum(labels[:i]) for i in range(4))
    assert summary(folder)["costs"]["samples_processed"] == 2 * seen


def test_joint_is_not_for_a_deployed_model(mlbench, tmp_path):
    code, _, error = mlbench("lifelong=joint", *FEEDBACK)
    assert code == 2
    assert "lifelong=cumulative" in error
    assert not (tmp_path / "out").exists()


def test_a_deployment_resumes_after_ctrl_c(mlbench, tmp_path, monkeypatch):
    from mlbench.runs import run_dir

    save, left = run_dir.Run.save, iter(range(4, -1, -1))

    def cut_off(run, state):
        save(run, state)
        if next(left, 1) == 0:
            raise KeyboardInterrupt

    words = ("lifelong=er", *FEEDBACK, "train.epochs=3")
    assert mlbench(*words)[0] == 0
    whole = only_run(tmp_path / "out")
    monkeypatch.setattr(run_dir, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(run_dir.Run, "save", cut_off)
    assert mlbench(*words)[0] == 130
    (cut,) = set(folders(tmp_path / "out")) - {whole}
    assert mlbench(f"resume={cut}", out=False)[0] == 0
    for name in ("metrics.jsonl", "rounds.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"joint"}))
def test_any_method_serves(mlbench, tmp_path, method):
    """Also when a round brings one label, or none."""
    few = ("data.per_round=20", "data.feedback_rate=0.1", *FEW_STEPS.get(method, []))
    code, _, error = mlbench(f"lifelong={method}", *FEEDBACK, *few)
    assert code == 0, error
    result = summary(only_run(tmp_path / "out"))["metrics"]
    assert {"online_accuracy", "original_accuracy", "round_accuracy", "labels_used"} <= set(result)
