"""Networks with a frozen backbone: its features are computed once, and the last layer alone is trained."""

import pytest
import torch

import mlbench as mlbench_package
from mlbench.experiment.frozen_backbone import FrozenBackbone
from mlbench.models.head import Head, with_backbone
from mlbench.runs import run_dir
from mlbench.training.features import features
from tests.experiment.test_runs import summary

STREAM = ("data=split_digits", "data.tasks=2", "data.train_per_task=40", "data.test_per_task=40", "model=cnn")
QUICK = ("model.channels=[4,6]", "train.epochs=2", "threads=1")
FROZEN = (*STREAM, *QUICK, "model.freeze=backbone")
PLAIN = ("data=digits", "data.train_examples=60", "data.test_examples=50", "model=cnn", *QUICK)


def network(folder):
    return mlbench_package.load(folder / "checkpoints" / "model.safetensors")


def ran(mlbench, tmp_path, *words):
    """The folder of the run that ends last."""
    code, _, error = mlbench(*words)
    assert code == 0, error
    return max((tmp_path / "out").glob("*/*/*/summary.json"), key=lambda path: path.stat().st_mtime_ns).parent


def test_the_last_layer_learns_what_it_learns_in_the_whole_network(mlbench, tmp_path):
    """Computed from features, or through frozen layers with batch norm, all of which are named."""
    once = network(ran(mlbench, tmp_path, *PLAIN, "model.freeze=backbone"))
    through = network(ran(mlbench, tmp_path, *PLAIN, "model.freeze=[0,1,4,5]"))
    trained = network(ran(mlbench, tmp_path, *PLAIN))
    for name, tensor in once.state_dict().items():
        torch.testing.assert_close(tensor, through.state_dict()[name], msg=name)
    changed = {name for name, tensor in once.state_dict().items() if not tensor.equal(trained.state_dict()[name])}
    assert any("running_mean" in name for name in changed)


@pytest.fixture
def converted(monkeypatch):
    """The stream before and after it was given features, and the network, of each run."""
    compute, seen = FrozenBackbone.features, []

    def kept(backbone, stream, note):
        seen.append((backbone, stream, compute(backbone, stream, note)))
        return seen[-1][2]

    monkeypatch.setattr(FrozenBackbone, "features", kept)
    return seen


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("icarl", "split_digits data.scenario=class"),
        ("independent", "split_digits data.scenario=task"),
        ("packnet", "split_digits data.scenario=task"),
        ("joint", "permuted_digits"),
    ],
)
def test_a_run_leaves_whole_networks(mlbench, tmp_path, converted, method, data):
    """What R counts are the answers that the networks on disk give to pictures."""
    folder = ran(mlbench, tmp_path, f"lifelong={method}", f"data={data.split()[0]}", *data.split()[1:], *FROZEN[1:])
    ((backbone, before, after),) = converted
    for pictures, vectors in zip(before.tasks, after.tasks, strict=True):
        for one, other in zip(pictures.splits(), vectors.splits(), strict=True):
            expected = features(backbone.net.eval(), one.batch(one.places).x)
            torch.testing.assert_close(other.batch(other.places).x, expected.detach())
            assert other.labels.equal(one.labels)
    own = [mlbench_package.load(path) for path in sorted(folder.glob("checkpoints/answers_task_*"))]
    assert bool(own) == (method != "joint")
    last = (folder / "accuracy_matrix.csv").read_text().splitlines()[-1].split(",")[1:]
    for number, (task, cell) in enumerate(zip(before.tasks, last, strict=True)):
        net, test = [*own, network(folder), network(folder)][number], task.test
        answers = before.heads(net(test.raw(test.places)), test.tasks(test.places)).argmax(1)
        assert (answers == test.labels).float().mean().item() == pytest.approx(float(cell), abs=1e-4)


def test_features_are_computed_once_for_the_same_network_and_examples(mlbench, tmp_path, monkeypatch):
    computed, counts = FrozenBackbone.computed, []

    def counted(backbone, examples):
        counts.append(len(examples))
        return computed(backbone, examples)

    monkeypatch.setattr(FrozenBackbone, "computed", counted)
    ran(mlbench, tmp_path, "lifelong=finetune", *FROZEN)
    assert sum(counts) == 160  # training and test examples of two tasks
    ran(mlbench, tmp_path, "lifelong=ewc", *FROZEN, "train.lr=0.01")
    assert sum(counts) == 160
    ran(mlbench, tmp_path, "lifelong=finetune", *FROZEN, "model.channels=[4,7]")
    assert sum(counts) == 320


def test_a_run_that_was_stopped_goes_on_to_the_same_result(mlbench, tmp_path, monkeypatch):
    whole = ran(mlbench, tmp_path, "lifelong=er", *FROZEN)
    save, saves = run_dir.Run.save, []

    def stop_at_the_first(run, state):
        save(run, state)
        saves.append(run.folder)
        if len(saves) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_dir.Run, "save", stop_at_the_first)
    assert mlbench("lifelong=er", *FROZEN)[0] == 130
    assert mlbench(f"resume={saves[0]}", out=False)[0] == 0
    assert summary(saves[0])["metrics"] == summary(whole)["metrics"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compress=prune", *PLAIN, "model.freeze=backbone"), "checkpoint="),
        (("explain=saliency", *PLAIN, "model.freeze=[0]"), "checkpoint="),
        ((*PLAIN, "model.freeze=backbone", "train.augment=shift"), "train.augment=none"),
        ((*PLAIN, "model.freeze=[block]"), "there are: 0, 1,"),
        ((*PLAIN, "model.freeze=[0,1,4,5,10]"), "leaves no layer that learns"),
        ((*PLAIN, "model.freeze=[0.5]"), "allowed is backbone"),
        (("lifelong=progressive", *FROZEN), "only one that learns"),
        (("data=digits", "model=linear", "+model.freeze=1"), "leaves no layer that learns"),
    ],
)
def test_what_does_not_go_with_a_frozen_backbone_is_told(mlbench, tmp_path, words, told):
    code, _, error = mlbench(*words)
    assert code == 2
    assert told in error
    assert len(error.strip().splitlines()) <= 3
    assert not list((tmp_path / "out").glob("*/*/*/config.yaml"))


def test_a_head_inside_other_modules_becomes_the_whole_network():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    head = Head(net)
    assert list(head.state_dict()) == ["3.weight", "3.bias"]
    around = torch.nn.Sequential(head, torch.nn.Softmax(1))
    whole, x = with_backbone(around, net), torch.randn(2, 3, 4)
    torch.testing.assert_close(whole(x), net(x).softmax(1))
    assert whole[0][1].weight is net[1].weight
    assert with_backbone(net, net) is net
    assert sorted(whole.state_dict()) == sorted(f"0.{name}" for name in net.state_dict())
