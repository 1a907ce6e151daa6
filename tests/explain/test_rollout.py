"""Attention rollout: by hand, against the weights that each library gives itself, and what it cannot tell."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.explain.attribution.grid_pointing import play
from mlbench.explain.attribution.rollout import Rollout, products, rollout
from mlbench.explain.attribution.token_attribution import FromVectors
from mlbench.models.cnn import CNN
from mlbench.training.module_hooks import hooked
from tests.explain.test_inference_copy import used
from tests.models.test_bert import CLS, MASK, SEP, bert
from tests.techniques import configured

TARGET = torch.tensor([0, 1])


def by_hand(weights: list[Tensor], reads: slice) -> Tensor:
    """Abnar & Zuidema 2020, eq. 1, of [B, heads, n, n]: the mean of the rows `reads` of the product, [B, n]."""
    identity = torch.eye(weights[0].shape[-1], dtype=weights[0].dtype)
    product = identity
    for each in weights:
        mixed = each.mean(1) / 2 + identity / 2
        product = (mixed / mixed.sum(2, keepdim=True)) @ product
    return product[:, reads].mean(1)


class Small(nn.Module):
    """Patches of 4 x 4 pixels, a token in front or none, two layers of two heads, and a classifier."""

    def __init__(self, tokens: int = 1, batch_first: bool = True):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.tokens = nn.Parameter(torch.randn(1, tokens, 8))
        self.batch_first = batch_first
        self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=batch_first) for _ in range(2))
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        x = x if self.batch_first else x.transpose(0, 1)
        for layer in self.layers:
            x = x + layer(x, x, x, need_weights=False)[0]
        x = x if self.batch_first else x.transpose(0, 1)
        return self.last(x[:, 0] if self.tokens.shape[1] else x.mean(1))


def attention_by_hand(layer: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """(weights [B, heads, n, n], output [B, n, 8]) for x [B, n, 8]."""
    query, key, value = (x @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, 2)
    weights, mixed = [], []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[:, :, head] @ key[:, :, head].transpose(1, 2) / 2
        weights.append(scores.exp() / scores.exp().sum(2, keepdim=True))
        mixed.append(weights[-1] @ value[:, :, head])
    return torch.stack(weights, 1), layer.out_proj(torch.cat(mixed, 2))


@pytest.mark.parametrize("tokens", [1, 0])
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_the_product_of_the_attention_by_hand(tokens, batch_first):
    """Of the row of the token, or of all rows of a network that averages; the map is wider than high."""
    torch.manual_seed(0)
    net, x = Small(tokens, batch_first).double().eval(), torch.randn(2, 3, 8, 12).double()
    states, weights = net.patches(x).flatten(2).transpose(1, 2), []
    states = torch.cat([net.tokens.expand(2, -1, -1), states], 1)
    for layer in net.layers:
        found, mixed = attention_by_hand(layer, states)
        weights.append(found.detach())
        states = states + mixed
    expected = by_hand(weights, slice(0, 1) if tokens else slice(None))
    shares, grid = rollout(net, x)
    assert grid == (2, 3)
    torch.testing.assert_close(shares, expected)
    maps = configured(Rollout).maps(net, x, TARGET)
    coarse = expected[:, tokens:].reshape(2, 1, 2, 3)
    torch.testing.assert_close(maps, F.interpolate(coarse, (8, 12), mode="bilinear"))


def torchvisions() -> tuple[nn.Module, list[nn.Module]]:
    from torchvision.models.vision_transformer import VisionTransformer

    net = VisionTransformer(32, 8, 2, 2, 8, 16, num_classes=3)
    return net, [layer.self_attention for layer in net.encoder.layers]


def with_weights(layers: list[nn.Module], net: nn.Module, x: Tensor) -> list[Tensor]:
    """What nn.MultiheadAttention gives itself for what comes in."""
    found: list[Tensor] = []

    def note(layer, inputs, output):
        found.append(nn.MultiheadAttention.forward(layer, *inputs, average_attn_weights=False)[1])

    with hooked([layer.register_forward_hook(note) for layer in layers]):
        net(x)
    return [each.detach() for each in found]


def test_torchvisions_transformer():
    torch.manual_seed(0)
    net, layers = torchvisions()
    net, x = net.eval(), torch.randn(2, 3, 32, 32)
    weights = with_weights(layers, net, x)
    assert len(weights) == 2
    torch.testing.assert_close(rollout(net, x)[0], by_hand(weights, slice(None)))  # its last layer starts at 0
    nn.init.normal_(net.heads.head.weight)
    shares, grid = rollout(net, x)
    assert grid == (4, 4)
    torch.testing.assert_close(shares, by_hand(weights, slice(0, 1)))


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ({}, slice(0, 1)),
        ({"global_pool": "avg"}, slice(1, None)),  # without the class token
        ({"global_pool": "avg", "class_token": False}, slice(None)),
        ({"reg_tokens": 3}, slice(0, 1)),
        ({"name": "deit_tiny_distilled_patch16_224"}, slice(0, 2)),
    ],
)
def test_timms_transformers(settings, reads):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"depth": 2, "embed_dim": 8, "num_heads": 2, "img_size": 32, "patch_size": 8, "num_classes": 3}
    net = timm.create_model(**{"model_name": settings.pop("name", "vit_tiny_patch16_224"), **sizes, **settings}).eval()
    x, weights, hooks = torch.randn(2, 3, 32, 32), [], []
    shares, grid = rollout(net, x)
    maps = configured(Rollout).maps(net, x, TARGET)
    for block in net.blocks:
        block.attn.fused_attn = False  # attention by a softmax, which dropout gets
        hooks.append(block.attn.attn_drop.register_forward_hook(lambda *about: weights.append(about[2])))
    with hooked(hooks), torch.no_grad():
        net(x)
    assert len(weights) == 2
    torch.testing.assert_close(shares, by_hand(weights, reads))
    assert grid == (4, 4)
    coarse = shares[:, -16:].view(2, 1, 4, 4)
    torch.testing.assert_close(maps, F.interpolate(coarse, (32, 32), mode="bilinear"))
    torch.testing.assert_close(rollout(net, x)[0], shares)


def test_transformers_own():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8)
    net, x = transformers.ViTForImageClassification(config).eval(), torch.randn(2, 3, 32, 32)
    shares, grid = rollout(Logits(net), x)
    net.set_attn_implementation("eager")
    with torch.no_grad():
        weights = net(x, output_attentions=True).attentions
    torch.testing.assert_close(shares, by_hand(weights, slice(0, 1)))
    torch.testing.assert_close(rollout(Logits(net), x)[0], shares)
    assert grid == (4, 4)


class Logits(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).logits


def test_the_pieces_of_a_text_without_the_special_ones_around_it():
    net, ids = bert(), torch.tensor([[CLS, 7, 8, 9, 10, SEP]])
    vectors, mask = net.embed(ids).detach(), net.embed(torch.tensor([MASK])).detach()
    view = FromVectors(net, vectors[:, :1], vectors[:, 5:], mask)
    maps = configured(Rollout).maps(view, (vectors[:, 1:5] - mask).transpose(1, 2)[:, :, None], TARGET[:1])
    net.language.set_attn_implementation("eager")
    with torch.no_grad():
        weights = net.language.bert(ids, output_attentions=True).attentions
    assert len(weights) == 2
    assert maps.shape == (1, 1, 1, 4)
    torch.testing.assert_close(maps.flatten(1), by_hand(weights, slice(None))[:, 1:5])


def test_layers_that_torch_would_fuse_show_their_attention():
    """In eval mode with frozen weights it calls none of the functions that are watched, if it is let."""
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)]
    last = nn.Linear(8, 3)
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Turned(), *layers, Mean(), last)
    net, x = net.eval(), torch.randn(2, 3, 8, 8)
    weights = with_weights([layer.self_attn for layer in layers], net, x)
    net.requires_grad_(False)
    with torch.no_grad():
        torch.testing.assert_close(rollout(net, x)[0], by_hand(weights, slice(None)))


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def test_weights_behind_masks_and_scales():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 5, 4)
    mask = torch.rand(2, 1, 5, 5) < 0.6
    mask |= torch.eye(5, dtype=torch.bool)
    scores = query @ key.transpose(2, 3)
    found = products(query, key, value, mask, scale=0.3)
    torch.testing.assert_close(found, (0.3 * scores).masked_fill(~mask, -torch.inf).softmax(3))
    below = torch.ones(5, 5).tril().bool()
    found = products(query, key, value, is_causal=True)
    torch.testing.assert_close(found, (scores / 2).masked_fill(~below, -torch.inf).softmax(3))


def test_no_class_is_told_from_another():
    """So a game that asks for the class is played as by chance."""
    torch.manual_seed(0)
    net, x, target = Small().eval(), torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    method = configured(Rollout)
    maps = method.maps(net, x, target)
    assert torch.equal(method.maps(net, x, (target + 1) % 3), maps)
    assert maps.std() > 0
    classes = method.class_maps(net, x, torch.tensor([[0, 2]] * 4))
    assert torch.equal(classes, torch.stack([maps, maps], 1))
    (game,) = play(net, x, target, torch.tensor([[2, 0, 3, 1]]), method.class_maps, method.amounts)
    assert game["pointing"] == pytest.approx(0.25, abs=1e-6)


class Windows(nn.Module):
    """Attention in each half of a picture."""

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2).unflatten(1, (2, -1)).flatten(0, 1)
        return F.scaled_dot_product_attention(x, x, x).mean(1).unflatten(0, (-1, 2)).sum(1)


class Bare(nn.Module):
    """Each pixel a position, without a convolution."""

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(x, x, x).mean(1)


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (lambda: used(CNN((3, 8, 8), 3, [4])), "needs a network with attention"),
        (Windows, r"one of \[4, 32, 32\], as windows"),
        (Bare, "patches that a convolution makes"),
    ],
)
def test_networks_without_a_rollout_are_refused_in_two_lines(net, told):
    with pytest.raises(UserError, match=told) as error:
        configured(Rollout).maps(net().eval(), torch.randn(2, 3, 8, 8), TARGET)
    assert len(str(error.value).splitlines()) <= 2
