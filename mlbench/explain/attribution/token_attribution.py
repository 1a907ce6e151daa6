"""Maps of texts: the methods that explain pictures, on the vectors of word pieces.

A text becomes a picture of one row, [1, D, 1, l]: a pixel for each piece, a channel for each number of its vector, and
0 the vector of the mask, which covers a piece as grey covers a pixel. So squares of one piece, noise, paths from the
covered text and deletion curves are what they are for pictures.
"""

import torch
from torch import Tensor, nn

from mlbench.data.modality import PAD
from mlbench.data.stream import Task
from mlbench.explain.attribution.examples import Examples, View
from mlbench.explain.base import Attribution, Context, strength
from mlbench.runs.results import Passage, Results

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


class TokenView(View):
    """Test texts drawn by the seed, each by itself; those without any pieces are left out."""

    controls = ("random", "wrong_class")
    thorough = False  # texts differ in length, and each is explained through a network of its own

    def __init__(self, net: nn.Module, method: Attribution, context: Context):
        self.examples, self.pieces = [], []
        tokens, task = context.task.modality, context.task
        with torch.no_grad():
            for row in context.chosen(method):
                ids = task.test.raw(row[None])[0].long()
                if torch.isin(ids, torch.tensor(tokens.special, device=ids.device)).all():
                    continue
                decides, label = deciding(task, row, ids), int(task.test.labels[row])
                self.add(net, ids, method.target, decides, label, context)

    def add(
        self, net: nn.Module, ids: Tensor, target: int | None, decides: Tensor | None, label: int, context: Context
    ) -> None:
        """Add the text of ids [L]; `decides` [L] bool says where the answer stands, if that is known."""
        tokens, ids = context.task.modality, ids[ids != PAD][None]
        inner = ~torch.isin(ids[0], torch.tensor(tokens.special, device=ids.device))
        first, last = inner.nonzero()[0].item(), inner.nonzero()[-1].item() + 1
        vectors = net.embed(ids)
        mask = net.embed(torch.tensor([tokens.mask], device=ids.device))  # [1, D]
        view = FromVectors(net, vectors[:, :first], vectors[:, last:], mask)
        x = (vectors[:, first:last] - mask).transpose(1, 2)[:, :, None]
        predicted = view(x).argmax(1)
        explained = predicted if target is None else torch.full_like(predicted, target)
        truth = None if decides is None else decides[None, None, first:last]
        labels = torch.full_like(predicted, label)
        self.examples.append(Examples(view, x, explained, predicted, labels, truth, context.classes))
        self.pieces.append([tokens.vocabulary[number] for number in ids[0, first:last].tolist()])

    def empty(self, x: Tensor) -> Tensor:
        """Every piece covered by the mask."""
        return torch.zeros_like(x)

    def reduced(self, method: Attribution, maps: Tensor) -> Tensor:
        """One number for each piece, [1, 1, 1, l]: gradients have a size, amounts are added up."""
        return maps.sum(1, keepdim=True) if method.amounts else strength(maps)[:, None]

    def random(self, x: Tensor) -> tuple[int, ...]:
        """A number for each piece."""
        return 1, 1, 1, x.shape[3]

    def show(self, results: Results, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Texts with coloured pieces; values [n, longest] as arrays, 0 behind the end, with pieces and classes."""
        values = [self.reduced(method, each).flatten() for each in maps[name]]
        texts = zip(self.examples, self.pieces, values, strict=True)
        passages = [Passage(each.title(0), pieces, value.tolist()) for each, pieces, value in texts]
        results.passages["texts"] = passages[:SHOWN]
        longest = max(map(len, values))
        padded = torch.stack([nn.functional.pad(value, (0, longest - len(value))) for value in values])
        pieces = [each + [""] * (longest - len(each)) for each in self.pieces]
        target = torch.cat([each.target for each in self.examples])
        results.arrays["maps"] = {"maps": padded.cpu().numpy(), "pieces": pieces, "target": target.cpu().numpy()}


def deciding(task: Task, row: Tensor, ids: Tensor) -> Tensor | None:
    """Which pieces of the test text `row`, ids [L], decide its label: bool [L]; None where that is not known."""
    if task.properties is None or DECIDES not in task.properties.values:
        return None
    words, decides = task.properties.test, torch.zeros_like(ids, dtype=torch.bool)
    for start, end in words.spans[(words.rows == row) & (words.labels[DECIDES] == 1)].tolist():
        decides[start:end] = True
    return decides
