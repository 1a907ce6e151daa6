"""Decoders and judges: what they see, what counts, and that they find what is planted."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from torch import nn

from mlbench.core.errors import SettingError, UserError
from mlbench.data.datasets.tones import Tones
from mlbench.data.split import Pool, Split
from mlbench.explain.representation.decoders import Deconvolution, HighwayDecoder, Judge, Rebuild, outputs
from mlbench.explain.representation.invert import Invert
from mlbench.explain.representation.reconstructions import FrameReconstruction, chosen, r_squared
from mlbench.models.cnn import CNN
from mlbench.models.speech import Speech
from mlbench.runs.results import Panel
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_maximise import Studio
from tests.explain.test_runner import table
from tests.techniques import configured

QUICK = ("explain.epochs=1", "explain.judge_epochs=1", "explain.shown=2", "threads=1", "train.epochs=1")


class Listening(Studio):
    """A workbench with sounds."""

    def __init__(self, frames=30):
        self.stream = Tones(1, 1, frames).stream(None, torch.Generator().manual_seed(0))
        net = Speech(self.stream.input_shape, 10, 4, 6, 0.0).eval()
        super().__init__(net)
        self.task = self.stream.tasks[0]
        self.train, self.test, self.input_shape = self.task.train, self.task.test, self.stream.input_shape
        self.start, self.net, self.seen = net, net, []

    def fit(self, net, title, learner=None, train=None, **changes):
        self.seen.append((title, train, learner))
        return net.eval()


def method(**settings):
    found = configured(Invert, **settings)
    found.framewise = True
    return found


def test_a_frame_is_decoded_alone():
    decoder, frames = HighwayDecoder(6, 5, 8, 2), torch.randn(7, 6)
    changed = frames.clone()
    changed[3:] = 9.0
    torch.testing.assert_close(decoder(changed)[:3], decoder(frames)[:3], atol=0, rtol=0)


def test_a_highway_layer_by_hand():
    decoder, x = HighwayDecoder(4, 4, 4, 1), torch.randn(3, 4)
    first = decoder.first(x)
    gate = torch.sigmoid(decoder.gates[0](first))
    expected = decoder.last(gate * decoder.changes[0](first).relu() + (1 - gate) * first)
    torch.testing.assert_close(decoder(x), expected)


@pytest.mark.parametrize("features", [(5, 4, 4), (5, 16, 16), (5, 3, 3), (7,), (5, 1, 1)])
@pytest.mark.parametrize("picture", [(1, 8, 8), (3, 13, 16)])
def test_pictures_come_back_in_their_shape(features, picture):
    assert Deconvolution(features, picture, 4)(torch.randn(2, *features)).shape == (2, *picture)


def test_r2_by_hand():
    truth, found = torch.tensor([[1.0, 10.0], [3.0, 14.0]]), torch.tensor([[1.0, 11.0], [2.0, 14.0]])
    assert r_squared(found, truth) == pytest.approx(1 - 2 / (1 + 1 + 4 + 4))
    assert r_squared(truth, truth) == 1
    assert r_squared(truth.mean(0).expand_as(truth), truth) == 0


def test_padding_is_neither_learned_nor_measured():
    context = Listening()
    frames = FrameReconstruction(method(), context)
    inputs = frames.inputs(context.task.test)
    assert len(inputs) == context.task.test.pool.lengths.sum()
    x = context.task.test.batch(torch.arange(2)).x
    first, second = context.task.test.pool.lengths[:2].tolist()
    torch.testing.assert_close(inputs[:first], x[0, 0, :, :first].T)
    torch.testing.assert_close(inputs[first : first + second], x[1, 0, :, :second].T)
    again = frames.spectrograms(inputs)
    torch.testing.assert_close(again, context.task.test.batch(torch.arange(len(context.task.test))).x)


def test_classifiers_and_decoders_use_training_data_only():
    context = Listening()
    looked = method(train_samples=20)
    looked.explain(context.net, context)
    titles = [title for title, _, _ in context.seen]
    assert titles[:2] == ["judge of the digit", "judge of the speaker"]
    assert titles[2:] == ["decoder"] * 9  # the input, and four layers of two networks
    for title, train, learner in context.seen:
        if title.startswith("judge"):
            assert train.pool is context.task.train.pool
        else:
            assert isinstance(learner, Rebuild)
            assert len(train) == len(learner.targets) < context.task.train.pool.lengths.sum()
    known = context.task.properties.train.labels
    assert torch.equal(context.seen[1][1].labels, known["speaker"])


def test_speakers_missing_from_training_are_not_classified():
    context = Listening()
    known = context.task.properties
    assert list(FrameReconstruction(method(), context).judges) == ["digit", "speaker"]
    known.train.labels["speaker"] = known.train.labels["speaker"].clamp(max=3)
    assert list(FrameReconstruction(method(), context).judges) == ["digit"]
    found = method().explain(context.net, context)
    assert not any("speaker" in name for name in [*found.metrics, *found.charts])


def test_a_classifier_recognises_true_spectrograms():
    task = Tones(3, 1, 30).stream(None, torch.Generator().manual_seed(0)).tasks[0]
    torch.manual_seed(0)
    judge, batch = Judge(40, 10), task.train.batch(torch.arange(len(task.train)))
    optimizer = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(25):
        loss = nn.functional.cross_entropy(judge(batch.x), batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = task.test.batch(torch.arange(len(task.test)))
    assert (judge.eval()(test.x).argmax(1) == test.y).double().mean() > 0.8


def test_outputs_are_those_of_all_examples():
    rows = torch.arange(3000)
    split = Split(Pool(torch.randn(3000, 4)), rows, rows, 0, nn.Identity())
    net = nn.Linear(4, 2)
    torch.testing.assert_close(outputs(net, split), net(split.pool.examples))


def test_examples_are_spread_over_the_split():
    rows = torch.arange(11)
    assert chosen(Split(Pool(torch.zeros(11, 1)), rows, rows, 0, nn.Identity()), 3).tolist() == [0, 5, 10]


def test_what_a_run_with_sounds_leaves(mlbench, tmp_path):
    code, _, error = mlbench("explain=invert", "data.train_each=2", "data.test_each=1", "model.channels=4", *QUICK)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    rows = table(folder / "layers.csv")
    assert [(row["network"], row["layer"], row["path"]) for row in rows[:2]] == [
        ("trained", "0", "input"),
        ("trained", "1", "conv1"),
    ]
    assert [(row["network"], row["layer"]) for row in rows[5:]] == [("untrained", str(k)) for k in (1, 2, 3, 4)]
    assert {f"layer_4_{name}" for name in ("r2", "digit", "speaker")} <= set(summary(folder)["metrics"])
    waves = sorted(path.name for path in (folder / "artefacts").glob("*.wav"))
    assert len(waves) == 2 * (1 + 5 + 4)
    rate, wave = wavfile.read(folder / "artefacts" / waves[0])
    assert rate == 8000
    assert wave.dtype == np.int16
    assert abs(wave).max() > 300
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"layers", "r2", "digit", "speaker"}


def test_what_a_run_with_pictures_leaves(mlbench, tmp_path):
    code, _, error = mlbench("explain=invert", "data=digits", "model=cnn", "model.channels=[4,6]", *QUICK)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    assert [row["path"] for row in table(folder / "layers.csv")] == ["input", "3", "9", "3", "9"]
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"layers", "r2"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"train_samples": 1}, "train_s"),
        ({"highways": -1}, "highways"),
        ({"epochs": 0}, "epochs"),
        ({"lr": 0.0}, "lr"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(SettingError, match=named):
        configured(Invert, **settings)


def test_layers_without_frames_are_refused_for_sounds():
    net = CNN((1, 40, 30), 10, [4, 5]).eval()
    with pytest.raises(UserError, match="no vector for each frame; take model=speech"):
        method().rehearse(net, torch.randn(2, 1, 40, 30))


@pytest.mark.parametrize("explain", ["invert", "probe"])
def test_early_stopping_is_for_the_network_alone(mlbench, tmp_path, explain):
    """Decoders, judges and probes learn from examples of another kind than those that are held out."""
    small = ("data=tones", "model=speech", "data.train_each=3", "data.test_each=1", "model.channels=2")
    stops = ("train.validation=0.2", "train.patience=1", "train.epochs=2", "threads=1")
    code, _, error = mlbench(f"explain={explain}", "explain.epochs=2", *small, *stops)
    assert code == 0, error
    assert "top_r2" in summary(only_run(tmp_path / "out"))["metrics"] or explain == "probe"


def test_the_untrained_network_is_untrained_beside_a_checkpoint_too(mlbench, tmp_path, monkeypatch):
    from mlbench.explain.runner import Explain

    made, starts = Explain.__post_init__, []

    def watched(job):
        made(job)
        starts.append((job.start.state_dict(), job.net.state_dict(), job.start.training))

    monkeypatch.setattr(Explain, "__post_init__", watched)
    words = ("explain=invert", "data=digits", "model=cnn", "model.channels=[4,6]", *QUICK)
    assert mlbench(*words)[0] == 0
    (file,) = (tmp_path / "out" / "store").glob("*.pt")
    code, _, error = mlbench(*words, f"checkpoint={file}")
    assert code == 0, error
    (first, _, _), (again, trained, training) = starts
    assert not training
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(again["0.weight"], trained["0.weight"])


@pytest.mark.usefixtures("same_process")
def test_a_network_whose_layers_were_changed_has_an_untrained_one_of_its_own_shape(mlbench, tmp_path):
    cnn = ("data=digits", "model=cnn", "model.channels=[4,6]", "threads=1", "train.epochs=1")
    code, _, error = mlbench("compress=prune_neurons", "compress.finetune_epochs=1", *cnn)
    assert code == 0, error
    file = max(only_run(tmp_path / "out").glob("artefacts/*"))
    code, text, error = mlbench("explain=invert", *cnn, *QUICK, f"checkpoint={file}")
    assert code == 0, error
    assert "top_untrained_r2" in text


TONES = ("data=tones", "model=speech", "data.train_each=2", "data.test_each=1", "model.channels=2", *QUICK[3:])


def test_maps_of_spectrograms_show_what_is_heard(mlbench, tmp_path, monkeypatch):
    from mlbench.explain.runner import Explain

    jobs, made = [], Explain.__post_init__
    monkeypatch.setattr(Explain, "__post_init__", lambda job: (made(job), jobs.append(job))[0])
    code, _, error = mlbench("explain=saliency", "explain.samples=3", *TONES)
    assert code == 0, error
    (job,) = jobs
    silence = job.normalise(torch.full((1, 1, 1, 1), job.task.modality.mel.silence))
    torch.testing.assert_close(job.black, silence)
    assert (job.picture(silence) == 0).all()
    loud = job.picture(job.normalise(job.task.train.pool.examples))
    assert (loud.min(), loud.max()) == (0, 255)
    with np.load(only_run(tmp_path / "out") / "artefacts" / "maps.npz") as file:
        assert len(np.unique(file["pictures"])) > 100


def test_low_notes_are_drawn_below(tmp_path):
    """The first row of pixels is white; a map between classes is never turned."""
    from mlbench.reporting.figures import grids

    picture, path = np.zeros((1, 4, 4), np.uint8), tmp_path / "grid.png"
    picture[0, 0] = 255
    for panel, upwards, dark_below in (
        (Panel(picture=picture), False, True),
        (Panel(picture=picture), True, False),
        (Panel(map=-picture[0] / 255.0, classes=["a", "b", "c", "d"]), True, False),
    ):
        grids.draw_grid([("", [panel])], path, upwards)
        with Image.open(path) as drawn:
            pixels = np.asarray(drawn.convert("L"))
        middle = pixels[:, pixels.shape[1] // 2 + 10]
        dark = np.flatnonzero(middle < 150)
        lower = dark.mean() > len(middle) / 2
        assert lower == dark_below


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["explain=maximise"], "for spectrograms there are captum, embed, gradcam, guided_backprop"),
        (["explain=mend"], ", occlusion, probe, rise, rollout, saliency, smoothgrad"),
        (["explain=saliency", "explain.images=here"], "null: this data is spectrograms"),
        (["explain=invert", "train.augment=crop_flip"], "changes pictures"),
    ],
)
def test_what_is_for_pictures_is_refused_for_sounds(mlbench, tmp_path, monkeypatch, words, part):
    monkeypatch.setattr("mlbench.explain.runner.files", lambda path: [])
    code, _, error = mlbench(*words, *TONES)
    assert code == 2, error
    assert part in error
    assert len(error.strip().splitlines()) <= 2
