"""The transformer and its pretraining: what each text sees, what is covered, weights from a folder."""

from pathlib import Path

import pytest
import torch

from mlbench.core.errors import UserError
from mlbench.data.modality import PAD, Tokens
from mlbench.explain.representation.activations import activations, layers_of
from mlbench.models.bert import Bert
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from mlbench.training.masked_lm import MaskedLanguage, covered, masked_accuracy, texts
from mlbench.training.optimizer import Training
from tests.explain.test_activations import split_of

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

CLS, SEP, MASK = 2, 3, 4
TEXT = Tokens([f"piece {k}" for k in range(50)], [0, 1, 2, 3, 4], MASK, CLS)
ONE, OTHER = [CLS, 7, 8, 9, SEP], [CLS, 10, SEP]


def bert(length=12, **changes):
    torch.manual_seed(0)
    settings = {"vocabulary": 50, "width": 16, "depth": 2, "heads": 2, "dropout": 0.0, "pretrained": None}
    settings |= {"pretrain_epochs": 3, "pretrain_batch_size": 4, "pretrain_lr": 0.01}
    return Bert((length,), 3, **{**settings, **changes}).eval()


def padded(*ids):
    return torch.tensor([[*each, *[PAD] * (12 - len(each))] for each in ids])


def test_padding_does_not_change_the_logits():
    net = bert()
    torch.testing.assert_close(net(padded(ONE, OTHER))[1:], net(padded(OTHER)))
    torch.testing.assert_close(net(padded(OTHER)), net(torch.tensor([OTHER])))


def test_texts_in_one_row_do_not_attend_to_each_other():
    net, row = bert(), padded([*ONE, *OTHER])
    which = texts(row, TEXT)
    assert which.tolist() == [[1] * 5 + [2] * 3 + [0] * 4]
    places = torch.zeros_like(row, dtype=torch.bool)
    places[0, [2, 6]] = True
    found = net.covered(row, places, which)
    for number, (ids, place) in enumerate(((ONE, 2), (OTHER, 1))):
        alone = torch.tensor([ids])
        chosen = torch.zeros_like(alone, dtype=torch.bool)
        chosen[0, place] = True
        torch.testing.assert_close(found[number], net.covered(alone, chosen, torch.ones_like(alone))[0])
        torch.testing.assert_close(found[number], net.language.cls(net.encoded(alone)[chosen])[0])


def test_word_embeddings_give_the_same_logits_as_ids():
    net, ids = bert(), padded(ONE, OTHER)
    torch.testing.assert_close(net.from_embeddings(net.embed(ids), ids != PAD), net(ids))


def test_the_classifier_sees_the_mean_over_all_tokens():
    net, ids = bert(), torch.tensor([ONE])
    torch.testing.assert_close(net(ids), net.classes(net.encoded(ids).mean(1)))


def test_layers_are_the_embedding_and_each_blocks_output():
    net, ids = bert(), padded(ONE, OTHER)
    states = net.language.bert(ids, attention_mask=ids != PAD, output_hidden_states=True).hidden_states
    found = activations(net, split_of(ids.int()), layers_of(net))
    assert len(found) == len(states) == 3
    for mine, theirs in zip(found.values(), states, strict=True):
        torch.testing.assert_close(mine[0, :5], theirs[0, :5])
        torch.testing.assert_close(mine[1, :3], theirs[1, :3])


def test_fifteen_per_cent_of_the_tokens_are_masked_and_no_special_ones():
    ids = torch.randint(5, 50, (400, 60), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, 50], ids[:, 51:] = CLS, SEP, PAD
    torch.manual_seed(0)
    shown, places = covered(ids, TEXT)
    assert not places[:, [0, *range(50, 60)]].any()
    assert places[:, 1:50].double().mean() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(shown[~places], ids[~places])
    there = shown[places]
    assert (there == MASK).double().mean() == pytest.approx(0.8, abs=0.02)
    assert (there == ids[places]).double().mean() == pytest.approx(0.1, abs=0.02)


def test_at_least_one_token_is_masked():
    torch.manual_seed(0)
    for _ in range(20):
        assert covered(padded(OTHER), TEXT)[1].sum() == 1


def test_pretraining_learns_to_predict_masked_tokens():
    net = bert(width=32)
    ids = torch.tensor([[CLS, 10 + k, 20 + k, 30 + k, SEP] for k in range(8)] * 16)  # the rest tells the piece
    before = masked_accuracy(net, split_of(ids), TEXT)
    training = Training(60, 16, "adamw", 0.01, 0.0, 0.0, "warmup", "none", 0.0, 0)
    fit(net, split_of(ids), MaskedLanguage(TEXT), training, Compute(), torch.Generator().manual_seed(0))
    after = masked_accuracy(net, split_of(ids), TEXT)
    assert before < 0.2 < 0.7 < after
    assert masked_accuracy(net, split_of(ids), TEXT) == after


def test_weights_are_loaded_only_from_safetensors(tmp_path):
    net = bert()
    net.language.save_pretrained(tmp_path / "own")
    again = bert(pretrained=str(tmp_path / "own"), width=8, depth=1)
    assert again.pretraining is None
    torch.testing.assert_close(again.encoded(padded(ONE)), net.encoded(padded(ONE)))
    torch.save(net.language.state_dict(), tmp_path / "own" / "pytorch_model.bin")
    (tmp_path / "own" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be had, as a folder with safetensors"):
        bert(pretrained=str(tmp_path / "own"))


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
KINDS = {
    "Roberta": {**SIZES, "max_position_embeddings": 30},  # its padding is 1
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16},
    "Electra": {**SIZES, "embedding_size": 8},
    "ModernBert": {**SIZES, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_of_other_kinds_give_what_they_give_in_their_library(tmp_path, kind):
    """Hidden states of all layers, of texts with padding behind them, by ids and by word embeddings."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(vocab_size=50, **KINDS[kind])
    theirs = getattr(transformers, f"{kind}Model")(config).eval()
    theirs.save_pretrained(tmp_path / kind)
    net, ids = bert(pretrained=str(tmp_path / kind)), padded(ONE, OTHER)
    pad = config.pad_token_id
    assert pad == (1 if kind == "Roberta" else 0)
    own = torch.where(ids == PAD, pad, ids)
    states = theirs(own, attention_mask=(ids != PAD).int(), output_hidden_states=True).hidden_states
    found = activations(net, split_of(ids.int()), layers_of(net))
    assert len(found) == len(states) == 3
    for mine, other in zip(found.values(), states, strict=True):
        torch.testing.assert_close(mine[0, :5], other[0, :5])
        torch.testing.assert_close(mine[1, :3], other[1, :3])
    torch.testing.assert_close(net.from_embeddings(net.embed(ids), ids != PAD), net(ids))
    assert net.lacks_head
    assert net.pretraining is None


def test_what_is_no_complete_encoder_is_refused(tmp_path):
    """The library would give what is missing random numbers and a warning."""
    transformers = pytest.importorskip("transformers")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    transformers.T5EncoderModel(transformers.T5Config(vocab_size=50, **sizes)).save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="lacks decoder"):
        bert(pretrained=str(tmp_path / "t5"))
    net = bert()
    net.language.save_pretrained(tmp_path / "own")
    (tmp_path / "own" / "config.json").write_text(
        (tmp_path / "own" / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    )
    with pytest.raises(ValueError, match=r"lacks bert\.encoder\.layer\.2"):
        bert(pretrained=str(tmp_path / "own"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "width=16 is no multiple"),
        ({"vocabulary": None}, "takes texts"),
        ({"pretrained": str(Path(__file__).parent)}, "cannot be had"),
    ],
)
def test_unsuitable_inputs_and_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        bert(**changes)


def test_weights_for_shorter_texts_are_refused(tmp_path):
    bert().language.save_pretrained(tmp_path / "own")
    with pytest.raises(ValueError, match="takes 12 pieces, these texts have 20"):
        bert(20, pretrained=str(tmp_path / "own"))


def test_a_pretrained_network_brings_its_tokenizer(mlbench, tmp_path):
    """The data reads a text as the network was taught to."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "run", "##s"]
    inner = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    BertTokenizerFast(tokenizer_object=inner).save_pretrained(tmp_path / "own")
    bert(vocabulary=8).language.save_pretrained(tmp_path / "own")
    row = "{}\t{}\t_\tNOUN\tNN\t_\t0\troot\t_\t_\n"
    sentence = "# sent_id = GUM_{}_a-1\n" + row.format(1, "dog") + row.format(2, "runs") + "\n"
    for part in ("train", "dev", "test"):
        content = (sentence.format("news") + sentence.format("bio")) * 20
        (tmp_path / f"x-{part}.conllu").write_text(content)
    words = ("explain=occlusion", "data=ud_english", f"data.path={tmp_path}", "data.length=12", "model=bert")
    few = ("train.epochs=1", "threads=1", "explain.samples=2")
    code, _, error = mlbench(*words, f"model.pretrained={tmp_path / 'own'}", *few)
    assert code == 0, error
    code, _, error = mlbench(*words, f"data.tokenizer={tmp_path}", "train.epochs=1")
    assert code == 2
    assert "data.tokenizer" in error


def test_the_error_without_transformers_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'mlbench\[text\]'"):
        bert()
    from mlbench.data.tokenizer import load_tokenizer

    with pytest.raises(UserError, match=r"pip install 'mlbench\[text\]'"):
        load_tokenizer("x")
