"""What a run is compared with: joint training, other methods, other values of a setting, and its own earlier tasks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mlbench.core.statistics import Spread
from mlbench.reporting.figures import comparisons
from mlbench.reporting.over_time import OVER_TIME
from mlbench.reporting.sweep.summary import finished
from mlbench.reporting.sweep.tables import number_of_each, one_number, write_sweep
from mlbench.runs.run_record import RunRecord

SMALL = ("data.tasks=3", "data.train_per_task=60", "data.test_per_task=80", "train.epochs=2", "model.hidden=[16]")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def runs(out):
    return sorted(path.parent for path in Path(out).glob("*/*/*/summary.json"))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def matrix(folder):
    return np.loadtxt(folder / "accuracy_matrix.csv", delimiter=",", skiprows=1, ndmin=2)[:, 1:]


def lines(folder, *, reference):
    rows = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if (row["phase"] == "reference") == reference]


def by_method(out):
    return {summary(folder)["technique"]: folder for folder in runs(out)}


def without(mapping, *names):
    return {name: value for name, value in mapping.items() if name not in names}


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_the_reference_is_the_joint_run_and_changes_no_other_number(mlbench, tmp_path, scenario):
    words = (
        "data=split_digits",
        f"data.scenario={scenario}",
        *SMALL[1:],
        "seed=3",
        "train.validation=0.1",
        "train.patience=2",
    )
    for method in ("ewc", "joint"):
        assert mlbench(f"lifelong={method}", *words)[0] == 0
    alone = by_method(tmp_path / "out")
    assert mlbench("lifelong=ewc", "reference=joint", *words)[0] == 0
    (folder,) = set(runs(tmp_path / "out")) - set(alone.values())
    result, plain, joint = summary(folder), summary(alone["ewc"]), summary(alone["joint"])
    assert lines(folder, reference=False) == lines(alone["ewc"], reference=False)
    assert without(result["metrics"], "joint_accuracy", "joint_gap") == plain["metrics"]
    assert [row["value"] for row in lines(folder, reference=True)] == list(matrix(alone["joint"])[-1])
    assert result["metrics"]["joint_accuracy"] == joint["metrics"]["average_accuracy"]
    learned = np.diagonal(matrix(folder)[1:])
    assert result["metrics"]["joint_gap"] == pytest.approx(np.mean(matrix(alone["joint"])[-1] - learned))
    assert set(result["costs"]) - set(plain["costs"]) == {"reference_seconds"}


@pytest.mark.parametrize("scenario", ["domain", "class", "task"])
def test_the_reference_of_task_k_is_a_joint_run_over_tasks_1_to_k(mlbench, tmp_path, scenario):
    """Plain torch, one network after another, with the draws of the run's start."""
    import torch

    from mlbench.lifelong import joint_reference

    fits, fit = [], joint_reference.fit

    def spy(net, split, learner, *rest):
        start = torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()
        result = fit(net, split, learner, *rest)
        batch = split.batch(split.places)
        fits.append((start, sorted(set(batch.task.tolist())), learner.logits(net, batch).shape[1], rest[0].epochs))
        return result

    words = ("lifelong=finetune", "data=split_digits", f"data.scenario={scenario}", *SMALL[1:], "reference=cumulative")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_reference, "fit", spy)
        assert mlbench(*words, "reference_epochs=3")[0] == 0
    (folder,) = runs(tmp_path / "out")
    starts, tasks, competing, epochs = zip(*fits, strict=True)
    assert all(torch.equal(start, starts[0]) for start in starts)
    assert list(tasks) == [list(range(k + 1)) for k in range(5)]
    assert list(competing) == {"domain": [2] * 5, "task": [2] * 5, "class": [2, 4, 6, 8, 10]}[scenario]
    assert set(epochs) == {3}
    measured = [row["value"] for row in lines(folder, reference=True)]
    learned = np.diagonal(matrix(folder)[1:])
    metrics = summary(folder)["metrics"]
    assert metrics["intransigence"] == pytest.approx(np.mean(np.array(measured) - learned))
    assert "joint_gap" not in metrics


def test_a_run_cut_off_in_the_reference_training_goes_on_to_the_same_numbers(mlbench, tmp_path, monkeypatch):
    from mlbench.lifelong import joint_reference

    fit = joint_reference.fit

    def cut_off(*arguments):
        fit(*arguments)
        raise RuntimeError("cut off")

    words = ("lifelong=gem", "lifelong.memory_total=30", "reference=joint", *SMALL)
    assert mlbench(*words)[0] == 0
    (whole,) = runs(tmp_path / "out")
    monkeypatch.setattr(joint_reference, "fit", cut_off)
    assert mlbench(*words)[0] == 1
    monkeypatch.undo()
    (cut,) = {path.parent for path in (tmp_path / "out").glob("*/*/*/config.yaml")} - {whole}
    assert mlbench(f"resume={cut}", out=False)[0] == 0
    assert summary(cut)["metrics"] == summary(whole)["metrics"]
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_reference_that_diverges_says_so(mlbench, monkeypatch):
    from mlbench.core.errors import RunError
    from mlbench.lifelong import joint_reference

    def diverges(*arguments):
        raise RunError("the loss became nan in epoch 1, step 3 of 18; try a smaller train.lr")

    monkeypatch.setattr(joint_reference, "fit", diverges)
    code, _, error = mlbench("lifelong=finetune", "reference=joint", *SMALL)
    assert (code, "reference=joint: the loss became nan" in error) == (1, True)


def test_joint_needs_no_reference_and_plain_training_has_none(mlbench, tmp_path):
    assert mlbench("lifelong=joint", "reference=joint", *SMALL)[0] == 0
    assert "joint_accuracy" not in summary(*runs(tmp_path / "out"))["metrics"]
    code, _, error = mlbench("reference=joint")
    assert (code, "reference means nothing to plain training" in error) == (2, True)
    code, _, error = mlbench("lifelong=ewc", "reference=finetune")
    assert (code, "reference=finetune: allowed is null|joint|cumulative" in error) == (2, True)


@pytest.mark.usefixtures("figures")
def test_tasks_csv_says_what_each_task_cost_also_after_a_resume(mlbench, tmp_path, monkeypatch):
    from mlbench.lifelong import runner

    calls, accuracy = [], runner.accuracy

    def fails_once(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("cut off")
        return accuracy(*arguments)

    monkeypatch.setattr(runner, "accuracy", fails_once)
    assert mlbench("lifelong=cumulative", *SMALL)[0] == 1
    (folder,) = (path.parent for path in (tmp_path / "out").glob("*/*/*/config.yaml"))
    assert mlbench(f"resume={folder}", out=False)[0] == 0
    rows, costs = table(folder / "tasks.csv"), summary(folder)["costs"]
    assert [(row["task"], row["name"]) for row in rows] == [(str(i), f"permutation {i}") for i in (1, 2, 3)]
    assert [int(row["samples"]) for row in rows] == [60 * 2, 2 * 60 * 2, 3 * 60 * 2]
    for name in ("train_seconds", "consolidate_seconds"):
        assert sum(float(row[name]) for row in rows) == pytest.approx(costs[name])
        assert all(float(row[name]) > 0 for row in rows)
    assert not any(isinstance(value, list) for value in costs.values())
    assert (folder / "figures" / "task_seconds.png").stat().st_size > 5000


def test_a_sweep_compares_methods_on_one_stream(mlbench, tmp_path):
    code, text, error = mlbench("-m", "lifelong=finetune,ewc,joint", "seed=0,1", *SMALL)
    assert code == 0, error
    (sweep,) = (tmp_path / "out" / "sweeps").iterdir()
    matrices, scores = {}, {}
    for folder in runs(tmp_path / "out"):
        matrices.setdefault(summary(folder)["technique"], []).append(matrix(folder))
        scores.setdefault(summary(folder)["technique"], []).append(summary(folder)["metrics"])
    rows = table(sweep / "comparison.csv")
    assert len(rows) == 2 * (3 + 3 + 1)
    for row in rows:
        learned = int(row["tasks_learned"])
        result = [m[-1 if len(m) == 1 else learned] for m in matrices[row["setting"]]]
        values = [m[:learned].mean() if row["metric"] == "average_accuracy" else m[0] for m in result]
        assert float(row["mean"]) == pytest.approx(np.mean(values))
        assert float(row["half_interval"]) == pytest.approx(12.7062047 * np.std(values, ddof=1) / np.sqrt(2))
    result = {(row["setting"], row["metric"]): float(row["mean"]) for row in table(sweep / "sweep.csv")}
    joint = np.mean([m[-1].mean() for m in matrices["joint"]])
    for method in ("finetune", "ewc"):
        learning = np.mean([score["learning_accuracy"] for score in scores[method]])
        assert result[method, "joint_gap"] == pytest.approx(joint - learning)
    assert ("joint", "joint_gap") not in result
    assert "joint gap" in text
    assert {path.name for path in sweep.glob("*.png")} == {"average_accuracy.png", "comparison.png"}


@pytest.mark.parametrize(
    ("words", "passes", "stored", "told"),
    [
        (("lifelong=finetune",), 2, 0, 0),
        (("lifelong=finetune", "data.scenario=task"), 2, 0, 1),
        (("lifelong=joint", "lifelong.epochs=5"), 5, 120, 0),
        (("lifelong=cumulative",), 2 * 2, 120, 0),
        (("lifelong=independent",), 2, 0, 1),
        (("lifelong=progressive",), 2, 0, 1),
        (("lifelong=packnet", "lifelong.retrain_epochs=3"), None, 0, 1),
        (("lifelong=gdumb", "lifelong.memory_total=30", "lifelong.epochs=4"), 4 * 3 * 30 / 180, 30, 0),
        (("lifelong=ewc", "lifelong.samples=20"), 2 + 3 * 20 / 180, 0, 0),
        (("lifelong=er", "lifelong.memory_total=30", "lifelong.replay_batch=10"), 2 + 2 * 2 * 60 / 180, 30, 0),
        (("lifelong=icarl", "lifelong.memory_total=30", "lifelong.replay_batch=10", "data.scenario=domain"),
         2 + 2 * 2 * 60 / 180 + (3 * 60 + 3 * 30) / 180, 30, 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)  # fmt: skip
def test_every_run_says_what_it_had(mlbench, tmp_path, words, passes, stored, told):
    assert mlbench(*SMALL, *words)[0] == 0
    costs = summary(*runs(tmp_path / "out"))["costs"]
    if passes is None:  # two of training; three of retraining after each task but the last, which leaves nothing free
        assert costs["samples_processed"] == 2 * 180 + 2 * 3 * 60
        assert costs["samples_replayed"] == 0
        passes = 2 + 2
    assert costs["passes"] == pytest.approx(passes)
    assert (costs["memory_examples"], costs["task_told"]) == (stored, told)


def test_the_gap_takes_the_joint_run_with_the_same_settings(tmp_path):
    """Another learning rate is another comparison; another device or folder is not."""
    jobs = []
    for number, (technique, lr, device, accuracy) in enumerate(
        [("joint", 0.1, "cpu", 0.9), ("joint", 0.2, "cpu", 0.8), ("ewc", 0.2, "cuda", 0.5), ("ewc", 0.3, "cpu", 0.5)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = f"seed: 0\ndevice: {device}\nout: {number}\ntrain: {{lr: {lr}}}\nlifelong: {{_target_: {technique}}}\n"
        (folder / "config.yaml").write_text(config)
        metrics = {"average_accuracy": accuracy, **({"learning_accuracy": 0.7} if technique == "ewc" else {})}
        about = {"schema": 1, "family": "lifelong", "data": "permuted_digits", "model": "mlp", "seed": 0}
        content = {**about, "technique": technique, "metrics": metrics, "costs": {"train_seconds": 1.0}}
        (folder / "summary.json").write_text(json.dumps(content))
        jobs.append({"label": f"lifelong={technique} train.lr={lr}", "folder": str(folder)})
    result = [run.summary["metrics"].get("joint_gap") for run in finished(jobs)]
    assert result == [None, None, pytest.approx(0.8 - 0.7), None]


def test_the_strength_preset_sweeps_by_itself(mlbench, tmp_path):
    """The strengths come from the preset, also into the labels; the command line may put others in their place."""
    small = ("data=permuted_digits", "data.tasks=2", "data.train_per_task=50", "data.test_per_task=50")
    code, _, error = mlbench("-m", "experiment=ewc_strength", *small, "seed=0,1", "lifelong.strength=10,0,1")
    assert code == 0, error
    (sweep,) = (tmp_path / "out" / "sweeps").iterdir()
    rows = table(sweep / "sweep.csv")
    assert {row["setting"] for row in rows} == {f"lifelong.strength={value}" for value in (0, 1, 10)}
    pictures = {"average_accuracy.png", "comparison.png", "over_strength.png", "trade_off.png"}
    assert {path.name for path in sweep.glob("*.png")} == pictures
    result = {(row["setting"], row["metric"]): float(row["mean"]) for row in rows}
    for setting in {row["setting"] for row in rows}:
        assert -1 <= result[setting, "intransigence"] <= 1
    order = list(dict.fromkeys(row["setting"] for row in table(sweep / "comparison.csv")))
    assert order == [f"lifelong.strength={value}" for value in (0, 1, 10)]
    code, _, error = mlbench("experiment=ewc_strength", *small)
    assert code == 0, error


def test_one_number_that_tells_labels_apart():
    name = "lifelong.strength"
    assert one_number([f"ewc {name}=10", f"ewc {name}=1e-1"]) == (
        name,
        {f"ewc {name}=1e-1": 0.1, f"ewc {name}=10": 10.0},
    )
    for labels in (
        [f"{name}=1"],
        ["ewc", "gem"],
        [f"ewc {name}=1", f"si {name}=2"],
        ["train.lr=1 train.epochs=1", "train.lr=2 train.epochs=1"],
        ["train.optimizer=sgd", "train.optimizer=adam"],
        ["train.lr=1", "train.epochs=2"],
    ):
        assert one_number(labels) == ("", {})


def test_the_number_that_tells_labels_of_each_technique_apart():
    name = "lifelong.strength"
    labels = [f"{technique} {name}={value}" for technique in ("ewc", "si") for value in (10, 1)]
    assert number_of_each(labels) == (
        name,
        {t: {f"{t} {name}=1": 1.0, f"{t} {name}=10": 10.0} for t in ("ewc", "si")},
    )
    for others in (labels[:2], [*labels, "gem"], [*labels, "l2 train.lr=1", "l2 train.lr=2"], ["ewc", "gem"]):
        assert number_of_each(others) == ("", {})


def test_several_techniques_over_a_number_share_one_figure(mlbench, tmp_path):
    words = ("lifelong=ewc,l2", "lifelong.strength=1,10", "data.tasks=2", "data.train_per_task=60", "train.epochs=1")
    code, text, error = mlbench("-m", *words)
    assert code == 0, error
    assert "over_strength.png" in text
    assert len(list((tmp_path / "out" / "sweeps").glob("*/over_strength.png"))) == 1


MAPS = {"pointing": "high", "top25_share": "high", "deletion_auc": "low", "insertion_auc": "high", "sparsity": ""}
SIZES = {"accuracy": "high", "error_increase": "low", "ratio": "high", "speedup": "high", "dropped_accuracy": "high"}


@pytest.mark.parametrize(
    ("ends", "constant", "panels"),
    [
        (MAPS, {"accuracy"}, [["pointing", "top25 share", "insertion auc"], ["deletion auc"], ["sparsity"]]),
        (MAPS, {*MAPS} - {"sparsity"}, [["sparsity"]]),
        (MAPS, {*MAPS}, [["pointing", "top25 share", "insertion auc"]]),
        (
            SIZES,
            {"ratio", "joint_accuracy"},
            [["joint accuracy", "accuracy", "dropped accuracy"], ["error increase"], ["ratio", "speedup"]],
        ),
        ({f"accuracy_{i}": "high" for i in range(6)}, {"accuracy_0"}, [[f"accuracy {i}" for i in range(1, 5)]]),
    ],
)
def test_the_figure_over_a_number_draws_the_headlines(tmp_path, monkeypatch, ends, constant, panels):
    """Accuracies in one panel, others by their good end, in places where the values are."""
    drawn = {}
    monkeypatch.setattr(comparisons, "save", lambda figure, path: drawn.setdefault(path.name, figure))
    result = []
    for value in (2, 4):
        numbers = {name: 0.5 if name in constant else 0.1 * value for name in (*ends, *constant, "no_headline")}
        about = {"headlines": ends, "metrics": numbers, "costs": {"train_seconds": 1.0}}
        result.append(RunRecord(tmp_path, about, label=f"smoothgrad explain.copies={value}"))
    write_sweep(result, tmp_path)
    axes = drawn["over_copies.png"].axes
    assert [[text.get_text() for text in one.get_legend().get_texts()] for one in axes] == panels
    for one in axes:
        low, high = one.get_xlim()
        assert 1.5 < low < 2 < 4 < high < 4.5


def test_a_logarithmic_axis_ends_beside_its_values(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(comparisons, "save", lambda figure, path: drawn.append(figure))
    points = [(value, {"accuracy": Spread(0.9 - value / 1000, 0.1, 2)}) for value in (0.0, 1.0, 100.0)]
    comparisons.draw_over_setting("lifelong.strength", points, [["accuracy"]], tmp_path / "over.png")
    (axes,) = drawn[0].axes
    low, high = axes.get_xlim()
    assert -1 < low < 0 < 100 < high < 200


def test_a_sweep_of_explanations_over_a_number_shows_how_they_score(mlbench, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(comparisons, "save", lambda figure, path: drawn.setdefault(path.name, figure))
    words = ("train.epochs=1", "model.channels=[4]", "data=planted", "explain.samples=8", "threads=1")
    code, _, error = mlbench("-m", "explain=smoothgrad", "explain.copies=1,4", *words)
    assert code == 0, error
    told = [text.get_text() for one in drawn["over_copies.png"].axes for text in one.get_legend().get_texts()]
    assert {"deletion auc", "insertion auc"} < set(told)
    assert "accuracy" not in told


def test_curves_are_drawn_from_the_table_and_stay_apart(tmp_path):
    rows = ["setting,tasks_learned,metric,mean,half_interval,runs"]
    for number in range(18):
        for learned in range(1, 5) if number else (4,):
            for metric in OVER_TIME:
                rows.append(f"method {number},{learned},{metric},{0.9 - 0.02 * number * learned / 4},0.01,3")
    path, pictures = tmp_path / "comparison.csv", []
    for count in (len(rows), len(rows) - 8):
        path.write_text("\n".join(rows[:count]) + "\n")
        comparisons.draw_curves(path, tmp_path / "comparison.png", ordered=False)
        pictures.append((tmp_path / "comparison.png").read_bytes())
    assert pictures[0] != pictures[1]
    styles = [comparisons.distinct_style(place) for place in range(18)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 18


def test_the_spread_over_orders_stands_beside_that_over_seeds(mlbench, tmp_path):
    words = ("data.order_seed=0,1", "seed=0,1", "data.tasks=3", "data.train_per_task=60", "train.epochs=1")
    code, text, error = mlbench("-m", "experiment=curriculum", *words)
    assert code == 0, error
    (table,) = (tmp_path / "out" / "sweeps").glob("*/orders.csv")
    header, first, *_ = table.read_text().splitlines()
    assert header == "metric,sd_orders,sd_seeds,worst_order,best_order,orders,seeds"
    assert first.startswith("average_accuracy,")
    assert first.endswith(",2,2")
    assert str(table) in text
    assert not list(table.parent.glob("over_*.png"))


@pytest.mark.usefixtures("same_process")
def test_a_sweep_joins_the_points_of_its_compression_runs(mlbench, tmp_path):
    words = ("compress=cluster,huffman", "seed=0,1", "train.epochs=1", "data.train_examples=200", "threads=1")
    code, _, error = mlbench("-m", *words, "model.hidden=[8]")
    assert code == 0, error
    (sweep,) = (tmp_path / "out" / "sweeps").iterdir()
    result = {
        (row["setting"], row["stage"], row["metric"]): (float(row["mean"]), row["runs"])
        for row in table(sweep / "points.csv")
    }
    for technique, stage in (("cluster", "dense"), ("cluster", "cluster 5 bits"), ("huffman", "huffman")):
        folders = [folder for folder in runs(tmp_path / "out") if summary(folder)["technique"] == technique]
        rows = [row for folder in folders for row in table(folder / "points.csv") if row["stage"] == stage]
        for metric in ("accuracy", "bytes", "latency_ms"):
            expected = np.mean([float(row[metric]) for row in rows])
            assert result[technique, stage, metric] == (pytest.approx(expected), "2")
    figures = {f"accuracy_{cost}.png" for cost in ("bytes", "macs", "latency_ms")}
    assert figures <= {path.name for path in sweep.glob("*.png")}


@pytest.mark.usefixtures("figures")
def test_a_sweep_shows_the_same_pictures_in_the_way_of_each_method(mlbench, tmp_path):
    words = ("train.epochs=1", "model.channels=[4]", "explain.samples=4", "threads=1")
    code, text, error = mlbench("-m", "explain=saliency,occlusion", "data=planted", *words)
    assert code == 0, error
    (sweep,) = (tmp_path / "out" / "sweeps").iterdir()
    assert (sweep / "maps.png").stat().st_size > 5000
    assert all(name in text for name in ("pointing", "top25 share", "deletion auc", "insertion auc"))
    words = ("data=digits", "model=cnn", *words)
    assert mlbench("-m", "explain=saliency", "seed=1,2", *words)[0] == 0  # one method: nothing to compare
    assert len(list((tmp_path / "out").glob("sweeps/*/maps.png"))) == 1
    code, _, error = mlbench("-m", "explain=saliency,occlusion", "explain.target=0", *words)
    assert code == 0, error
    assert len(list((tmp_path / "out").glob("sweeps/*/maps.png"))) == 2
    code, _, error = mlbench("-m", "explain=saliency", "explain.target=0,1", *words)  # maps of other classes
    assert code == 0, error
    assert len(list((tmp_path / "out").glob("sweeps/*/maps.png"))) == 2
