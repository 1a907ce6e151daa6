"""A transformer encoder for texts."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.quiet import errors_only

PAD = 0
SPREAD = (
    0.55  # of initial weights, times 1 / sqrt(width): what 0.02 is for 768; narrow encoders learn nothing with 0.02
)


class Bert(nn.Module):
    """BERT (Devlin et al. 2019) as Hugging Face's transformers builds it, with two heads: covered pieces, and classes.

    Texts are ids of word pieces [B, L], PAD behind the end. Classes are told from the mean of the last layer over the
    pieces. `pretrained` is a folder or a name on the hub whose weights, in safetensors, are taken; then the other sizes
    are its own, and so is the vocabulary. Otherwise `pretraining` says how to learn from covered pieces first: settings
    of a fit, kept for whoever trains. Raises ValueError for examples that are no texts, and for weights that cannot be
    had.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        vocabulary: int | None,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        pretrained: str | None,
        pretrain_epochs: int,
        pretrain_batch_size: int,
        pretrain_lr: float,
    ):
        super().__init__()
        if len(input_shape) != 1 or vocabulary is None:
            raise ValueError("takes texts, as in data=grammar; pictures and sounds need another model=")
        with errors_only("torch.utils._pytree"):  # transformers imports torchao, which registers enums the old way
            if pretrained is None:
                self.language = fresh(input_shape[0], vocabulary, width, depth, heads, dropout)
            else:
                self.language = downloaded(pretrained, input_shape[0])
        self.classes = nn.Linear(self.language.config.hidden_size, outputs)
        self.layers = ["language.bert.embeddings"]
        self.layers += [f"language.bert.encoder.layer.{k}" for k in range(self.language.config.num_hidden_layers)]
        self.pretraining: dict[str, Any] | None = None
        if pretrained is None and pretrain_epochs:
            shape = {"epochs": pretrain_epochs, "batch_size": pretrain_batch_size, "lr": pretrain_lr}
            self.pretraining = {**shape, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "warmup"}

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        ids = trimmed(ids)
        return self.answers(self.encoded(ids), ids != PAD)

    def embed(self, ids: Tensor) -> Tensor:
        """The vector [B, L, D] that each piece has whatever stands around it."""
        return self.language.bert.embeddings.word_embeddings(ids)

    def from_embeddings(self, vectors: Tensor, there: Tensor) -> Tensor:
        """Logits [B, outputs] for what `embed` gives, perhaps changed; `there` [B, L] is False behind the end."""
        return self.answers(self.language.bert(inputs_embeds=vectors, attention_mask=there).last_hidden_state, there)

    def answers(self, encoded: Tensor, there: Tensor) -> Tensor:
        """Logits of the mean over the pieces that are there."""
        weight = there.unsqueeze(2).to(encoded.dtype)
        return self.classes((encoded * weight).sum(1) / weight.sum(1).clamp(min=1))

    def encoded(self, ids: Tensor) -> Tensor:
        """The last layer's output [B, L, D]."""
        there = ids != PAD
        return self.language.bert(ids, attention_mask=None if there.all() else there).last_hidden_state

    def covered(self, ids: Tensor, places: Tensor, texts: Tensor) -> Tensor:
        """What stands at `places` [B, L] bool, n of them: logits [n, vocabulary].

        A row may hold several texts, `texts` [B, L] says which from 1, 0 for none; each sees itself alone, and its
        positions begin at 0.
        """
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        begins = F.pad(texts[:, 1:] != texts[:, :-1], (1, 0), value=True)
        start = torch.where(begins, place, 0).cummax(1).values
        sees = (texts[:, None, :, None] == texts[:, None, None, :]).expand(-1, 1, -1, -1)  # [B, 1, L, L]
        longest = self.language.config.max_position_embeddings - 1
        output = self.language.bert(ids, attention_mask=sees, position_ids=(place - start).clamp(max=longest))
        return self.language.cls(output.last_hidden_state[places])


def trimmed(ids: Tensor) -> Tensor:
    """Without the columns that hold nothing but PAD; one stays."""
    return ids[:, : max(1, int((ids != PAD).sum(1).max()))]


def fresh(length: int, vocabulary: int, width: int, depth: int, heads: int, dropout: float) -> nn.Module:
    """An encoder with random weights and its head for covered pieces."""
    transformers = imported()
    if width % heads:
        raise ValueError(f"heads={heads}: width={width} is no multiple of it")
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=length,
        initializer_range=SPREAD / width**0.5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return transformers.BertForMaskedLM(config)


def downloaded(name: str, length: int) -> nn.Module:
    """The same with the weights of a folder or of a name on the hub."""
    transformers = imported()
    try:
        settings = {"use_safetensors": True, "output_loading_info": True}
        language, told = transformers.BertForMaskedLM.from_pretrained(name, **settings)
    except Exception as error:  # the hub's client raises whatever its network does
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"pretrained={name} cannot be had, as a folder with safetensors or from the hub ({reason})"
        ) from error
    if missing := [key for key in told["missing_keys"] if key.startswith("bert.")]:
        raise ValueError(f"pretrained={name} is no BERT: it has no {missing[0]}")  # and would be given random numbers
    longest = language.config.max_position_embeddings
    if longest < length:
        raise ValueError(f"pretrained={name} takes {longest} pieces, these texts have {length}; lower data.length")
    return language


def imported() -> Any:
    """The library. Raises ValueError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("needs transformers: pip install 'mlbench[text]'") from error
    return transformers
