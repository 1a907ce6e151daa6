"""Maps of texts: the methods for pictures on vectors of pieces, against known answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from mlbench.data.modality import PAD, Tokens
from mlbench.data.properties import Items, Properties
from mlbench.explain.attribution import evaluation
from mlbench.explain.attribution.evaluation import evaluate
from mlbench.explain.attribution.integrated_gradients import IntegratedGradients
from mlbench.explain.attribution.occlusion import Occlusion
from mlbench.explain.attribution.saliency import Saliency
from mlbench.explain.attribution.smoothgrad import SmoothGrad
from mlbench.explain.attribution.token_attribution import TokenView
from mlbench.reporting.figures import tokens
from mlbench.runs.results import Passage
from mlbench.runs.token_text import rich_text
from mlbench.training.compute import Compute
from tests.explain.test_activations import text_task
from tests.techniques import Late, configured

CLS, SEP, MASK = 1, 2, 3
TOKENS = Tokens([], [], MASK, CLS)


class Sums(nn.Module):
    """The logits are the sum of the pieces' own, whatever stands around."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 4)
        self.rest = nn.Linear(4, 3, bias=False)

    def forward(self, ids):
        return self.from_embeddings(self.embed(ids), ids != PAD)

    def embed(self, ids):
        return self.table(ids)

    def from_embeddings(self, vectors, there):
        return self.rest(vectors * there[..., None]).sum(1)


IDS = torch.tensor([[CLS, 5, 6, 7, SEP, PAD], [CLS, 8, SEP, PAD, PAD, PAD], [CLS, SEP, PAD, PAD, PAD, PAD]])


def view_of_texts(target=None, decides=None, method=None):
    torch.manual_seed(0)
    net, task = Sums(), text_task(IDS.int())
    if decides is not None:
        known = Items(torch.tensor([0, 0, 0, 1]), {"decides": decides}, torch.tensor([[1, 2], [2, 3], [3, 4], [1, 2]]))
        task.properties = Properties({"decides": ["no", "yes"]}, known, known)
    method = method or configured(Saliency, target=target)
    context = SimpleNamespace(task=task, classes=["a", "b", "c"], chosen=lambda method: torch.arange(3))
    return net, TokenView(net, method, context)


def test_the_view_gives_the_networks_own_answers():
    net, view = view_of_texts()
    found = view.examples
    assert view.pieces == [["piece 5", "piece 6", "piece 7"], ["piece 8"]]  # the empty one is out
    torch.testing.assert_close(found[0].net(found[0].x), net(IDS[:1]))
    torch.testing.assert_close(found[1].net(found[1].x), net(IDS[1:2]))
    masked = IDS[:1].clone()
    masked[0, 1:4] = MASK
    torch.testing.assert_close(found[0].net(torch.zeros_like(found[0].x)), net(masked))


@pytest.mark.parametrize("method", [configured(Occlusion), configured(IntegratedGradients, steps=3)])
def test_amounts_are_what_a_piece_brings_over_the_mask(method):
    net, view = view_of_texts(target=1)
    first = view.examples[0]
    method.black = torch.zeros(1)
    maps = view.reduced(method, method.maps(first.net, first.x, first.target))
    own = net.rest(net.table.weight)[:, 1]
    torch.testing.assert_close(maps.flatten(), (own[5:8] - own[MASK]).detach(), atol=1e-5, rtol=1e-4)


def test_gradients_are_measured_not_added_up():
    net, view = view_of_texts(target=2)
    first = view.examples[0]
    maps = view.reduced(configured(Saliency), configured(Saliency).maps(first.net, first.x, first.target))
    torch.testing.assert_close(maps.flatten(), net.rest.weight[2].abs().sum().expand(3).detach())


def test_smoothgrad_takes_texts():
    _, view = view_of_texts()
    first = view.examples[0]
    method = configured(SmoothGrad, copies=3)
    method.generator = torch.Generator().manual_seed(0)
    assert view.reduced(method, method.maps(first.net, first.x, first.target)).shape == (1, 1, 1, 3)


def test_scores_of_a_text_with_a_true_location():
    method = configured(Occlusion)
    net, view = view_of_texts(decides=torch.tensor([0, 1, 0, 1]), method=method)
    own = net.rest(net.table.weight).detach()
    scores = evaluate(method, view, TOKENS, "occlusion", torch.Generator().manual_seed(0), Compute())
    target = int(net(IDS[:1]).argmax())
    strongest = (own[5:8, target] - own[MASK, target]).abs().argmax()
    assert scores.metrics["pointing"] == (float(strongest == 1) + 1) / 2  # the other text has one piece
    rows = [row for row in scores.tables["curves"] if row["map"] == "occlusion"]
    p = [net(IDS[k : k + 1]).softmax(1).max().item() for k in (0, 1)]
    assert rows[0]["deletion"] == pytest.approx(np.mean(p), abs=1e-5)
    assert rows[-1]["insertion"] == pytest.approx(np.mean(p), abs=1e-5)
    assert {row["map"] for row in scores.tables["scores"]} == {"occlusion", "random", "wrong_class"}
    assert scores.arrays["maps"]["maps"].shape == (2, 3)
    assert [passage.pieces for passage in scores.passages["texts"]] == view.pieces


def test_the_time_of_a_map_is_the_devices_own(monkeypatch):
    late, method = Late(), configured(Saliency)
    monkeypatch.setattr(evaluation, "time", late)
    monkeypatch.setattr(method, "maps", late.slowly(method.maps))
    _, view = view_of_texts()
    late.owed = 7.0  # of what came before
    metrics = evaluate(method, view, TOKENS, "saliency", torch.Generator().manual_seed(0), late).metrics
    seconds = [metrics[f"{control}seconds_per_text"] for control in ("", "control_random_", "control_wrong_class_")]
    assert seconds == [1, 0, 1]


def test_titles_tell_what_differs():
    net, view = view_of_texts(target=2)
    answer = "abc"[int(net(IDS[:1]).argmax())]
    told = "explained: c" + (f", answered: {answer}" if answer != "c" else "") + ", label: a"
    assert view.examples[0].title(0) == told


PASSAGE = Passage("explained: a", ["un", "##usual", "word"], [1.0, -0.5, 0.0])


def test_pieces_of_a_word_stand_together_and_lines_are_broken_between_words():
    title, line = tokens.set_in_lines(PASSAGE)
    assert title == ("explained: a", [])
    assert [(column, letters) for column, letters, _ in line[1]] == [(0, "un"), (2, "usual"), (8, "word")]
    red, blue, white = (colour for _, _, colour in line[1])
    assert int(red[1:3], 16) > int(red[5:7], 16)
    assert int(blue[5:7], 16) > int(blue[1:3], 16)
    assert min(int(white[k : k + 2], 16) for k in (1, 3, 5)) > 240
    lines = tokens.set_in_lines(Passage("", ["word"] * 60, [0.0] * 60))
    assert max(column + len(letters) for _, pieces in lines for column, letters, _ in pieces) <= tokens.WIDTH
    assert len(lines) == 1 + 3


def test_the_terminal_shows_the_words():
    console = Console(width=80, force_terminal=True, record=True, file=(tmp := __import__("io").StringIO()))
    console.print(rich_text(PASSAGE))
    assert "un" in tmp.getvalue()
    assert console.export_text().split("\n")[1].split() == ["unusual", "word"]


def test_the_figure_is_drawn(tmp_path):
    tokens.draw_passages([PASSAGE, PASSAGE], tmp_path / "texts.png")
    assert (tmp_path / "texts.png").read_bytes()[:4] == b"\x89PNG"
