from __future__ import annotations

import pytest
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from mezzotint import UserError
from mezzotint.networks import DiT, DiTConfig
from mezzotint.networks.dit import positions


def dit(classes: int = 0, augmentation: int = 0, **fields: int) -> DiT:
    """Make a small DiT, of which no weight tensor is all zero."""
    torch.manual_seed(0)
    config = DiTConfig(**{"patch": 2, "width": 32, "depth": 2, "heads": 4, **fields})
    net = DiT(config, 3, classes, augmentation=augmentation)
    for weight in net.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return net


@pytest.mark.parametrize(
    ("width", "depth", "heads", "millions"),
    [(384, 12, 6, 33), (768, 12, 12, 130), (1024, 24, 16, 458), (1152, 28, 16, 675)],
)
def test_it_is_the_papers_network(width: int, depth: int, heads: int, millions: int) -> None:
    """Table 1, for 1000 classes, latents of 4 channels and a learned variance."""
    with torch.device("meta"):
        net = DiT(DiTConfig(2, width, depth, heads), 4, 1000, 8)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6) == millions


def test_the_default_is_s2() -> None:
    assert DiTConfig() == DiTConfig(patch=2, width=384, depth=12, heads=6)
    assert DiTConfig(patch=8).factor == 8


EMB = "transformer_blocks.0.norm1.emb"
# Our layer for theirs; in a block, theirs side by side.
NAMES = {
    "stem": "pos_embed.proj",
    "time.0": f"{EMB}.timestep_embedder.linear_1",
    "time.2": f"{EMB}.timestep_embedder.linear_2",
    "modulation": "proj_out_1",
    "out": "proj_out_2",
}
BLOCK = {
    "qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "out": ("attn1.to_out.0",),
    "mlp.0": ("ff.net.0.proj",),
    "mlp.2": ("ff.net.2",),
    "modulation": ("norm1.linear",),
}


def mapped(theirs: dict[str, Tensor], depth: int, patch: int) -> dict[str, Tensor]:
    """Return the authors' state dict with our names."""
    ours = {"label.weight": theirs[f"{EMB}.class_embedder.embedding_table.weight"]}
    for part in ("weight", "bias"):
        ours |= {f"{mine}.{part}": theirs[f"{name}.{part}"] for mine, name in NAMES.items()}
        for i in range(depth):
            for mine, names in BLOCK.items():
                parts = [theirs[f"transformer_blocks.{i}.{name}.{part}"] for name in names]
                ours[f"blocks.{i}.{mine}.{part}"] = torch.cat(parts)
        # A token's outputs are channels last with them, channels first with us.
        out = ours[f"out.{part}"].unflatten(0, (patch**2, -1))
        ours[f"out.{part}"] = out.transpose(0, 1).flatten(0, 1)
    ours["stem.weight"] = ours["stem.weight"].flatten(1)
    ours["time.0.weight"] = ours["time.0.weight"].roll(128, dims=1)  # theirs is cosines first
    return ours


@pytest.mark.parametrize("patch", [2, 4])
def test_it_is_diffusers_function_of_the_same_weights(patch: int) -> None:
    torch.manual_seed(0)
    reference = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=3,
        out_channels=6,
        num_layers=2,
        sample_size=16,
        patch_size=patch,
        num_embeds_ada_norm=10,
        norm_eps=1e-6,
    ).eval()
    for weight in reference.parameters():
        nn.init.normal_(weight, std=0.2)
    emb = reference.transformer_blocks[0].norm1.emb.state_dict()
    reference.transformer_blocks[1].norm1.emb.load_state_dict(emb)  # ours has one for all
    net = DiT(DiTConfig(patch, 32, 2, 4), 3, 10, 6)
    net.load_state_dict(mapped(reference.state_dict(), 2, patch))
    x, t, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 500, 999]), torch.tensor([0, 7, 10])
    with torch.no_grad():
        wanted = reference(x, t, labels).sample
        torch.testing.assert_close(net(x, t, labels), wanted, rtol=1e-4, atol=1e-4)


def test_positions_are_sines_then_cosines_of_column_then_row() -> None:
    got = positions(3, 5, 16, torch.device("cpu"))
    assert got.shape == (15, 16)
    row, column = 2, 4
    waves = [torch.tensor([place * 10000 ** (-k / 4) for k in range(4)]) for place in (column, row)]
    wanted = torch.cat([f(w) for w in waves for f in (torch.sin, torch.cos)])
    torch.testing.assert_close(got[row * 5 + column], wanted)
    assert len(got.unique(dim=0)) == 15


def test_a_new_network_says_zero_and_its_blocks_are_the_identity() -> None:
    net = DiT(DiTConfig(2, 32, 2, 4), classes=3)
    assert not net(torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0]), torch.tensor([0, 3])).any()
    x, c = torch.randn(2, 16, 32), torch.randn(2, 32)
    torch.testing.assert_close(net.blocks[0](x, c), x, rtol=0, atol=0)


def test_it_begins_as_the_paper_says() -> None:
    torch.manual_seed(0)
    net = DiT(DiTConfig(depth=1), 4, 1000)
    for layer in (net.label, net.time[0], net.time[2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    qkv = net.blocks[0].qkv
    bound = (6 / (384 + 3 * 384)) ** 0.5
    assert qkv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert qkv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not qkv.bias.any()


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_any_patch_and_size_keeps_the_shape(patch: int) -> None:
    assert dit(patch=patch)(torch.randn(2, 3, 16, 24), torch.zeros(2)).shape == (2, 3, 16, 24)


def test_no_labels_are_the_null_class_which_is_the_last_row() -> None:
    net = dit(classes=10)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 500.0])
    torch.testing.assert_close(net(x, t), net(x, t, torch.tensor([10, 10])))
    assert not torch.allclose(net(x, t), net(x, t, torch.tensor([3, 3])), atol=1e-3)


def test_labels_for_an_unconditional_network_are_refused() -> None:
    with pytest.raises(UserError, match="unconditional"):
        dit()(torch.randn(1, 3, 8, 8), torch.zeros(1), torch.zeros(1, dtype=torch.int64))


def test_every_weight_has_a_gradient() -> None:
    net = dit(classes=2, augmentation=3)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 500.0])
    net(x, t, torch.tensor([0, 2]), torch.randn(2, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@torch.no_grad()
def test_it_runs_in_bf16() -> None:
    net = dit(classes=3, augmentation=2)
    x, t, labels = torch.randn(2, 3, 16, 16), torch.tensor([5.0, 999.0]), torch.tensor([0, 3])
    wanted, bound = net(x, t, labels), 0.03
    low = net.for_inference(torch.bfloat16)
    assert {p.dtype for p in low.parameters()} == {low.dtype} == {torch.bfloat16}
    assert net.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        auto = net(x, t, labels)
    for got in (low(x, t, labels), auto):
        assert got.dtype == x.dtype
        assert (got - wanted).square().mean().sqrt() < bound * wanted.std()


@pytest.mark.parametrize("training", [True, False])
def test_a_compiler_sees_it_as_one_graph(training: bool) -> None:
    net = dit(classes=3, augmentation=2).train(training)
    x, t, labels = torch.randn(2, 3, 16, 16), torch.zeros(2), torch.tensor([0, 3])
    with torch.set_grad_enabled(training):
        compiled = torch.compile(net, backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(compiled(x, t, labels), net(x, t, labels))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 30, "heads": 3}, "`width` is 30: choose a multiple of 4"),
        ({"heads": 5}, "`heads` is 5: choose a divisor of the `width`, 384"),
        ({"depth": 0}, "greater than 0"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiTConfig(**fields)
