"""What a network for texts can learn from texts alone: to tell what stands at covered places."""

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.rng import apart
from mlbench.data.modality import PAD, Tokens
from mlbench.data.split import Batch, Split
from mlbench.training.learner import Learner
from mlbench.training.module_modes import eval_mode

SHARE = 0.15  # of the pieces is to be told
COVERED, REPLACED = 0.8, 0.1  # of these are covered by the mask, replaced by others; the rest stand as they are
AT_ONCE = 64  # rows


class PiecePredictor(Protocol):
    """A network that says which word pieces stand at covered places, as models/bert.py has one."""

    def covered(self, ids: Tensor, places: Tensor, texts: Tensor) -> Tensor:
        """Logits [n, vocabulary] for the `places` [B, L] of pieces [B, L] whose `texts` [B, L] are numbered."""
        ...


class MaskedLanguage(Learner):
    """Masked language modelling (Devlin et al. 2019, section 3.1): cross-entropy of the pieces at random places."""

    lr_setting = "model.pretrain_lr"

    def __init__(self, tokens: Tokens):
        self.tokens = tokens

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Places are drawn anew each time."""
        shown, places = covered(batch.x, self.tokens)
        logits = cast(PiecePredictor, net).covered(shown, places, texts(batch.x, self.tokens))
        return F.cross_entropy(logits.float(), batch.x[places])


def covered(ids: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """(ids [B, L] with some covered or replaced, the places [B, L] bool to be told: one at least)."""
    special = torch.tensor(tokens.special, device=ids.device)
    told = ~torch.isin(ids, special)
    draws = torch.rand(3, *ids.shape).to(ids.device)
    places = told & (draws[0] < SHARE)
    if not places.any():
        places.view(-1)[torch.where(told, draws[0], 2.0).argmin()] = True
    shown = torch.where(places & (draws[1] < COVERED), tokens.mask, ids)
    others = (draws[2] * len(tokens.vocabulary)).long()
    return torch.where(places & (draws[1] > 1 - REPLACED), others, shown), places


def texts(ids: Tensor, tokens: Tokens) -> Tensor:
    """Which text of its row each piece [B, L] belongs to, from 1; 0 where there is none."""
    return (ids == tokens.opening).cumsum(1) * (ids != PAD)


@torch.no_grad()
def masked_accuracy(net: nn.Module, split: Split, tokens: Tokens) -> float:
    """The share of covered pieces of `split` that the network tells; the same places each time."""
    right = count = 0
    with apart(split.labels.device, 0), eval_mode(net):
        for index in split.chunks(AT_ONCE):
            ids = split.batch(index).x
            shown, places = covered(ids, tokens)
            found = cast(PiecePredictor, net).covered(shown, places, texts(ids, tokens))
            right += int((found.argmax(1) == ids[places]).sum())
            count += int(places.sum())
    return right / count
