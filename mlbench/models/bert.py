"""BERT, a transformer encoder for texts, and other encoders of its kind that others have trained."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import first_line
from mlbench.core.quiet import errors_only
from mlbench.models.carried_encoders import encoder_path
from mlbench.models.surgery import path_of

PAD = 0
SAMPLE = 4  # an id that every vocabulary has
INITIAL_STD = 0.55  # of the weights, times 1 / sqrt(width): 0.02 at width 768; narrow encoders cannot learn from 0.02


class Bert(nn.Module):
    """BERT (Devlin et al. 2019) from Hugging Face's transformers, with a masked-language head and a classifier.

    Texts are token ids [B, L], with PAD behind the end. Unlike the paper, which uses the first token, the classifier
    sees the mean of the last layer over all tokens.

    With `pretrained` it is any encoder that gives hidden states: BERT, RoBERTa, DistilBERT, ELECTRA, ModernBERT, ...

    Args:
        input_shape: (L,), the length of the longest text in tokens.
        outputs: Number of classes.
        vocabulary: Number of different tokens; None for data that is not text.
        width: Size of a token's hidden state.
        depth: Number of layers.
        heads: Attention heads of each layer; they divide `width`.
        dropout: Probability, in hidden states and in attention.
        pretrained: Folder, or name on Hugging Face's hub, with weights in safetensors, or minilm, which a package
            carries; it determines the sizes.
        pretrain_epochs: Epochs of masked language modelling before the task, without `pretrained`.
        pretrain_batch_size: Its batch size, in rows that hold several texts each.
        pretrain_lr: Its learning rate.

    Attributes:
        lacks_head: Whether `pretrained` has no masked-language head, so that `covered` guesses with random weights.
        padding: The id of the encoder's own padding, which takes the place of PAD, and PAD its place, in all ids here.
        layers: Paths of the embedding and of each encoder layer, for probes.
        pretraining: Settings of the masked language modelling, for the code that trains the network; or None.

    Raises:
        ValueError: For data that is not text, for weights that cannot be loaded or do not fit, without transformers.
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
        self.lacks_head = False
        with errors_only("torch.utils._pytree"):  # transformers imports torchao, which registers enums the old way
            if pretrained is None:
                self.language = untrained(input_shape[0], vocabulary, width, depth, heads, dropout)
            else:
                self.language, self.lacks_head = downloaded(pretrained, input_shape[0])
        self.padding = self.language.config.pad_token_id or PAD
        self.classes = nn.Linear(self.language.config.hidden_size, outputs)
        encoder = self.language.base_model
        self.layers = [f"{path_of(self, encoder)}.{path}" for path in hidden_layers(encoder)]
        self.pretraining: dict[str, Any] | None = None
        if pretrained is None and pretrain_epochs:
            shape = {"epochs": pretrain_epochs, "batch_size": pretrain_batch_size, "lr": pretrain_lr}
            self.pretraining = {**shape, "optimizer": "adamw", "weight_decay": 0.01, "schedule": "warmup"}

    def forward(self, ids: Tensor) -> Tensor:
        """The logits [B, outputs] for token ids [B, L]."""
        ids = trimmed(ids)
        return self.classify(self.encoded(ids), ids != PAD)

    def embed(self, ids: Tensor) -> Tensor:
        """The word embeddings [B, L, D] of token ids [B, L], without context or position."""
        return self.language.get_input_embeddings()(self.own(ids))

    def from_embeddings(self, vectors: Tensor, there: Tensor) -> Tensor:
        """The logits [B, outputs] for word embeddings.

        Args:
            vectors: Word embeddings as `embed` returns them, perhaps changed, [B, L, D].
            there: Whether each position holds a token, bool [B, L]; False behind the end.
        """
        states = self.language.base_model(inputs_embeds=vectors, attention_mask=there).last_hidden_state
        return self.classify(states, there)

    def classify(self, encoded: Tensor, there: Tensor) -> Tensor:
        """The logits [B, outputs] of the mean of `encoded` [B, L, D] over the positions that are `there` [B, L]."""
        weight = there.unsqueeze(2).to(encoded.dtype)
        return self.classes((encoded * weight).sum(1) / weight.sum(1).clamp(min=1))

    def encoded(self, ids: Tensor) -> Tensor:
        """The last layer's hidden states [B, L, D] for token ids [B, L]."""
        there = ids != PAD
        mask = None if there.all() else there
        return self.language.base_model(self.own(ids), attention_mask=mask).last_hidden_state

    def own(self, ids: Tensor) -> Tensor:
        """The same token ids with the encoder's padding as PAD."""
        if self.padding == PAD:
            return ids
        return torch.where(ids == PAD, self.padding, torch.where(ids == self.padding, PAD, ids))

    def covered(self, ids: Tensor, places: Tensor, texts: Tensor) -> Tensor:
        """Predict masked tokens.

        Args:
            ids: Token ids, [B, L]; a row may hold several texts, each of which attends only to itself.
            places: Where to predict the token, bool [B, L], True at n positions.
            texts: Number of the text at each position of a row, from 1; 0 for none, [B, L].

        Returns:
            Logits [n, vocabulary].
        """
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        is_first = F.pad(texts[:, 1:] != texts[:, :-1], (1, 0), value=True)
        start = torch.where(is_first, place, 0).cummax(1).values
        same_text = (texts[:, None, :, None] == texts[:, None, None, :]).expand(-1, 1, -1, -1)  # [B, 1, L, L]
        longest = self.language.config.max_position_embeddings - 1
        output = self.language.bert(ids, attention_mask=same_text, position_ids=(place - start).clamp(max=longest))
        return self.language.cls(output.last_hidden_state[places])


def hidden_layers(base: nn.Module) -> list[str]:
    """Paths of the modules of an encoder that give its hidden states, the embedding's first.

    They are found by what they give for a text: libraries call them otherwise in each kind of encoder.
    """
    places: dict[tuple[int, torch.Size], list[str]] = {}
    kept = []  # a tensor that is gone would leave its address to another

    def note(path: str, output: object) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(tensor, Tensor):
            kept.append(tensor)
            places.setdefault((tensor.data_ptr(), tensor.shape), []).append(path)

    copied = copy.deepcopy(base).eval()  # transformers leaves hooks of its own in a network that was asked for states
    for path, module in copied.named_modules():
        if path:
            module.register_forward_hook(lambda _, inputs, output, path=path: note(path, output))  # noqa: ARG005
    with torch.no_grad():
        states = copied(torch.full((1, 3), SAMPLE), output_hidden_states=True).hidden_states
    found = [places.get((state.data_ptr(), state.shape)) for state in states]
    return [min(paths, key=lambda path: path.count(".")) for paths in found if paths]


def trimmed(ids: Tensor) -> Tensor:
    """Cut the token ids [B, L] behind the longest text of the batch; at least one column is left."""
    return ids[:, : max(1, int((ids != PAD).sum(1).max()))]


def untrained(length: int, vocabulary: int, width: int, depth: int, heads: int, dropout: float) -> nn.Module:
    """A masked language model with random weights. Raises ValueError where the heads do not divide the width."""
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
        initializer_range=INITIAL_STD / width**0.5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return transformers.BertForMaskedLM(config)


def downloaded(name: str, length: int) -> tuple[nn.Module, bool]:
    """An encoder with the weights of a folder, or of a name on the hub, and whether it lacks a masked-language head.

    BERT comes with that head, others without.

    Raises:
        ValueError: If the weights cannot be loaded or are not complete, where it is no encoder, or where it allows only
            shorter texts than `length` tokens.
    """
    transformers = imported()
    place = str(encoder_path(name))
    try:
        settings = {"use_safetensors": True, "output_loading_info": True}
        with errors_only("transformers"), no_bars(transformers):  # what its report says is checked here
            kind = transformers.AutoConfig.from_pretrained(place)
            cls = transformers.BertForMaskedLM if kind.model_type == "bert" else transformers.AutoModel
            language, report = cls.from_pretrained(place, **settings)
    except Exception as error:  # the hub's client raises errors of many classes
        reason = first_line(error)
        raise ValueError(
            f"pretrained={name} cannot be had, as a folder with safetensors or from the hub ({reason})"
        ) from error
    if missing := [key for key in report["missing_keys"] if not key.startswith(("cls.", "pooler."))]:
        raise ValueError(f"pretrained={name} lacks {missing[0]} of a {kind.model_type}")  # it would stay random
    if getattr(kind, "hidden_size", None) is None or kind.is_encoder_decoder:
        raise ValueError(f"pretrained={name} is a {kind.model_type}, no encoder with hidden states of one width")
    longest = getattr(kind, "max_position_embeddings", length)
    if longest < length:
        raise ValueError(f"pretrained={name} takes {longest} pieces, these texts have {length}; lower data.length")
    return language, cls is transformers.AutoModel or any(key.startswith("cls.") for key in report["missing_keys"])


@contextmanager
def no_bars(transformers: Any) -> Generator[None]:
    """Let transformers draw no progress bars while the context is active."""
    logging = transformers.utils.logging
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def imported() -> Any:
    """Import transformers. Raises ValueError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("needs transformers: pip install 'mlbench[text]'") from error
    return transformers
