"""Maps of texts: the methods that explain pictures, on the vectors of word pieces.

A text becomes a picture of one row, [1, D, 1, l]: a pixel for each piece, a channel for each number of its vector, and
0 the vector of the mask, which covers a piece as grey covers a pixel. So squares of one piece, noise, paths from the
covered text and deletion curves are what they are for pictures.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.data.modality import PAD, Text
from mlbench.data.stream import Task
from mlbench.explain.attribution import metrics
from mlbench.explain.base import Attribution, strength
from mlbench.runs.results import Chart, Findings, Passage
from mlbench.training.compute import Compute

SHOWN = 12  # texts in the figure
DECIDES = "decides"  # the property of words that is 1 where the label is decided, where that is known


class FromVectors(nn.Module):
    """The network as one of the pictures of a text [B, D, 1, l]; the pieces of `special` around it stay in place."""

    def __init__(self, net: nn.Module, before: Tensor, after: Tensor, mask: Tensor):
        super().__init__()
        self.net, self.before, self.after, self.mask = net, before, after, mask

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        vectors = x.squeeze(2).transpose(1, 2) + self.mask
        ends = [end.expand(len(x), *end.shape[1:]) for end in (self.before, self.after)]
        vectors = torch.cat([ends[0], vectors, ends[1]], 1)
        return self.net.from_embeddings(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=x.device))


@dataclass
class Sentence:
    """A text to explain."""

    view: FromVectors
    x: Tensor  # [1, D, 1, l]
    target: Tensor  # [1]
    title: str
    pieces: list[str]  # l
    truth: Tensor | None  # [1, 1, l] bool, the pieces that decide


@torch.no_grad()
def sentences(
    net: nn.Module, method: Attribution, task: Task, index: Tensor, classes: list[str]
) -> Iterator["Sentence"]:
    """The test texts at `index`, those without any pieces left out."""
    known = task.properties.test if task.properties is not None and DECIDES in task.properties.values else None
    for row in index:
        ids = task.test.raw(row[None])[0].long()
        decides = torch.zeros_like(ids, dtype=torch.bool)
        if known is not None:
            for start, end in known.spans[(known.rows == row) & (known.labels[DECIDES] == 1)].tolist():
                decides[start:end] = True
        if not torch.isin(ids, torch.tensor(task.text.special, device=ids.device)).all():
            told = (int(task.test.labels[row]), classes)
            yield sentence(net, ids, task.text, method.target, told, decides if known is not None else None)


def sentence(
    net: nn.Module, ids: Tensor, text: Text, target: int | None, told: tuple[int, list[str]], decides: Tensor | None
) -> Sentence:
    """The text of ids [L]; `told` is its label and the names of the classes, `decides` [L] where the answer stands."""
    ids = ids[ids != PAD][None]
    inner = ~torch.isin(ids[0], torch.tensor(text.special, device=ids.device))
    first, last = inner.nonzero()[0].item(), inner.nonzero()[-1].item() + 1
    vectors, (label, classes) = net.embed(ids), told
    mask = net.embed(torch.tensor([text.mask], device=ids.device))  # [1, D]
    view = FromVectors(net, vectors[:, :first], vectors[:, last:], mask)
    x = (vectors[:, first:last] - mask).transpose(1, 2)[:, :, None]
    predicted = view(x).argmax(1)
    explained = predicted if target is None else torch.full_like(predicted, target)
    title = f"explained: {classes[explained]}"
    title += f", answered: {classes[predicted]}" if predicted != explained else ""
    title += f", label: {classes[label]}" if label != explained else ""
    pieces = [text.pieces[number] for number in ids[0, first:last].tolist()]
    truth = None if decides is None else decides[None, None, first:last]
    return Sentence(view, x, explained, title, pieces, truth)


def judge(
    method: Attribution, sentences: list[Sentence], name: str, outputs: int, draws: torch.Generator, compute: Compute
) -> Findings:
    """Scores of `method` and of two controls, noise and a wrong class; figures; the values themselves."""
    shift = torch.randint(1, outputs, (), generator=draws).item()

    def noise(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001
        return torch.randn(1, 1, 1, x.shape[3], generator=draws).to(x.device)

    def wrong(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return method.maps(net, x, (target + shift) % outputs)

    findings, table, curves = Findings("maps", metrics.HEADLINES), [], []
    for title, of in {name: method.maps, "random": noise, "wrong_class": wrong}.items():
        compute.wait()
        began = time.perf_counter()
        values = [pieces_of(method, of(each.view, each.x, each.target)).detach() for each in sentences]
        compute.wait()
        found = {"seconds_per_text": (time.perf_counter() - began) / len(sentences)}
        found |= scored(sentences, values, title, curves)
        prefix = "" if title == name else f"control_{title}_"
        findings.metrics |= {f"{prefix}{metric}": value for metric, value in found.items()}
        table.append({"map": title, "examples": len(sentences), **found})
        if title == name:
            passages = zip(sentences, values, strict=True)
            findings.passages["texts"] = [
                Passage(each.title, each.pieces, value.flatten().tolist()) for each, value in passages
            ][:SHOWN]
            findings.arrays["maps"] = packed(sentences, values)
    findings.tables |= {"scores": table, "curves": curves}
    for curve in ("deletion", "insertion"):
        findings.charts[curve] = Chart("curves", "share of pieces", curve, by="map")
    return findings


def pieces_of(method: Attribution, maps: Tensor) -> Tensor:
    """One number for each piece, [1, 1, 1, l]: gradients have a size, amounts are added up."""
    return maps.sum(1, keepdim=True) if method.amounts else strength(maps)[:, None]


def scored(sentences: list[Sentence], values: list[Tensor], title: str, curves: list[dict]) -> dict[str, float]:
    """Means over the texts; rows of the mean curves are added to `curves`."""
    each: dict[str, list[Tensor]] = {}
    lines = []
    for text, value in zip(sentences, values, strict=True):
        covered = torch.zeros_like(text.x)
        deletion = metrics.perturbation_curve(text.view, text.x, covered, value, text.target)
        insertion = metrics.perturbation_curve(text.view, covered, text.x, value, text.target)
        lines.append(torch.cat([deletion, insertion]))
        found = {"deletion_auc": metrics.area(deletion), "insertion_auc": metrics.area(insertion)}
        found["sparsity"] = metrics.sparsity(value)
        if text.truth is not None and text.truth.any():
            found |= {
                "pointing": metrics.pointing(value, text.truth),
                "top25_share": metrics.top_share(value, text.truth),
            }
        for name, score in found.items():
            each.setdefault(name, []).append(score.double())
    mean = torch.stack(lines).mean(0)  # [2, steps]
    shares = torch.linspace(0, 1, metrics.STEPS + 1).tolist()
    rows = zip(shares, *mean.tolist(), strict=True)
    curves += [{"map": title, "share of pieces": share, "deletion": a, "insertion": b} for share, a, b in rows]
    means = {name: torch.cat(parts).nanmean().item() for name, parts in each.items()}
    return {name: value for name, value in means.items() if value == value}  # defined for no text


def packed(sentences: list[Sentence], values: list[Tensor]) -> dict:
    """Values [n, longest], 0 behind the end, with pieces and classes explained."""
    longest = max(value.shape[3] for value in values)
    padded = torch.cat([nn.functional.pad(value.flatten(1), (0, longest - value.shape[3])) for value in values])
    pieces = [each.pieces + [""] * (longest - len(each.pieces)) for each in sentences]
    target = torch.cat([each.target for each in sentences])
    return {"maps": padded.cpu().numpy(), "pieces": pieces, "target": target.cpu().numpy()}
