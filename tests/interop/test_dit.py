"""diffusers' DiTTransformer2DModel and the same weights here."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from torch import nn

import mezzotint as mz
from mezzotint.interop.dit import (
    DEFAULTS,
    IGNORED,
    LEGACY,
    dit_config,
    dit_settings,
    dit_state,
    dit_weights,
)
from mezzotint.networks import DiT, DiTConfig

SMALL: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "sample_size": 8,
    "num_embeds_ada_norm": 3,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "defaults": SMALL,
    "the authors' epsilon": SMALL | {"norm_eps": 1e-6},
    "a learned variance": SMALL | {"out_channels": 8},
    "large patches of one channel": SMALL | {"in_channels": 1, "patch_size": 4},
    "no classes": SMALL | {"num_embeds_ada_norm": 0},
}


def dit(config: dict[str, Any]) -> DiTTransformer2DModel:
    """Make a DiTTransformer2DModel with random weights, whose blocks share the embedding."""
    torch.manual_seed(0)
    net = DiTTransformer2DModel(**config).eval()
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.1)
    for block in net.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(net.transformer_blocks[0].norm1.emb.state_dict())
    return net


def ours(reference: DiTTransformer2DModel) -> DiT:
    found = dit_settings(dict(reference.config))
    net = DiT(DiTConfig(**found.fields), found.channels, found.classes, found.outputs).eval()
    net.load_state_dict(dit_weights(reference.state_dict(), True))
    return net


@pytest.mark.parametrize("config", CONFIGS.values(), ids=[*CONFIGS])
def test_the_same_weights_give_the_same_output(config: dict[str, Any]) -> None:
    reference = dit(config)
    net, k = ours(reference), config["num_embeds_ada_norm"]
    x, t = torch.randn(3, reference.config.in_channels, 8, 8), torch.tensor([0, 417, 999])
    labels = torch.tensor([0, k - 1, k]).clamp(min=0)
    with torch.no_grad():
        wanted = reference(x, t, class_labels=labels).sample
        found = net(x, t, labels if k else None)
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
def test_written_and_read_again_it_is_the_same_to_the_bit(classes: int) -> None:
    config = DiTConfig(patch=4, width=16, depth=11, heads=2)
    net = DiT(config, 3, classes, 6, augmentation=9)
    for weight in net.parameters():
        nn.init.normal_(weight)
    theirs = dit_config(vars(config), 3, 6, classes, 8)
    state = dit_state(net.state_dict(), 4)
    assert state.keys() == DiTTransformer2DModel.from_config(theirs).state_dict().keys()
    found = dit_settings(theirs)
    assert (DiTConfig(**found.fields), found.outputs, found.classes) == (config, 6, classes)
    back, own = dit_weights(state, True), net.state_dict()
    assert back.keys() == own.keys() - {"augmentation.weight"}
    assert all(torch.equal(value, own[key]) for key, value in back.items())


def test_settings_that_are_left_out_are_the_librarys_own_defaults() -> None:
    own = {
        name: p.default for name, p in signature(DiTTransformer2DModel.__init__).parameters.items()
    }
    assert {name: own[name] for name in DEFAULTS} == DEFAULTS
    assert own.keys() - DEFAULTS.keys() - IGNORED == {"self"}
    assert LEGACY.keys() < DEFAULTS.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_fn": "geglu"}, "activation_fn = 'geglu'"),
        ({"attention_bias": False, "dropout": 0.1}, r"dropout = 0.1, attention_bias = False"),
        ({"cross_attention_dim": 768}, "cross_attention_dim = 768"),
        ({"out_channels": 5}, "out_channels = 5"),
        ({"patch_size": 3}, "patch_size = 3 of sample_size = 8"),
        ({"rope": True}, r"rope = True \(unknown\)"),
        ({"_class_name": "Transformer2DModel"}, "norm_type = 'layer_norm'"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_every_setting_without_a_counterpart_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(mz.UserError, match=f"these settings of a DiT: .*{message}"):
        dit_settings(SMALL | change)


def test_blocks_that_embed_the_class_unlike_are_refused() -> None:
    state = dit(SMALL).state_dict()
    key = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"
    state[key] = state[key] + 1
    with pytest.raises(mz.UserError, match=f"different embeddings .* in {key}"):
        dit_weights(state, True)


# The config.json of facebook/DiT-XL-2-256, apart from the sizes, as copies of it have it.
PUBLIC: dict[str, Any] = {
    "_class_name": "Transformer2DModel",
    "_diffusers_version": "0.12.0.dev0",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "cross_attention_dim": None,
    "double_self_attention": False,
    "dropout": 0.0,
    "in_channels": 4,
    "norm_elementwise_affine": False,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_zero",
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "out_channels": 8,
    "patch_size": 2,
    "upcast_attention": False,
    "use_linear_projection": False,
}


@pytest.fixture
def public(tmp_path: Path) -> tuple[Path, DiTPipeline]:
    """Write a folder like the published ones; return it and the pipeline of diffusers."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 16),
        norm_num_groups=8,
    )
    names = {0: "tench, Tinca tinca", 1: "crane", 2: "crane"}
    net = dit(SMALL | {"out_channels": 8})
    pipe = DiTPipeline(net, vae, DDIMScheduler(clip_sample=False), id2label=names)
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "transformer" / "config.json"
    path.write_text(json.dumps(PUBLIC | SMALL))
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "Transformer2DModel"]
    index["id2label"] = {str(k): v for k, v in names.items()}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    return tmp_path, pipe


def test_a_published_folder_makes_the_images_that_diffusers_makes(
    public: tuple[Path, DiTPipeline],
) -> None:
    folder, theirs = public
    with pytest.warns(UserWarning, match="the second half is taken as a learned variance"):
        pipe = mz.load(folder)
    assert pipe.classes == ("tench, Tinca tinca", "crane 1", "crane 2")
    assert (pipe.shape, pipe.learned_variance) == ((4, 8, 8), True)
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    made = theirs([0, 2], 1.0, generator, num_inference_steps=10, output_type="pt").images
    found = pipe.sample(
        2, [0, 2], noise=noise, sampler="ddim", steps=10, spacing="leading", guidance=1.0
    )
    assert found.float().std() > 10
    assert ((255 * made).round() - found.float()).abs().max() <= 1
