import shutil
from dataclasses import asdict
from unittest.mock import MagicMock

import huggingface_hub
import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects

import mezzotint as mz
from mezzotint.data import find_source, held_out, prepare
from mezzotint.errors import UserError
from mezzotint.interop.vae import write_vae
from mezzotint.networks import VAE, VAEConfig
from mezzotint.pipeline.loading import is_autoencoder, load_codec
from mezzotint.storage.hub import snapshot


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub whose repositories are the folders in ``there``; it records the calls that go online.

    Its cache does not know which other files a repository has.
    """

    class Hub:
        there, here, online, fails = tmp_path / "there", tmp_path / "here", [], None

    def download(repo_id, *, repo_type, allow_patterns, ignore_patterns, local_files_only=False):
        here, there = Hub.here / repo_type / repo_id, Hub.there / repo_type / repo_id
        if local_files_only:
            if not here.exists():
                raise errors.LocalEntryNotFoundError("not here")
            return str(here)
        Hub.online.append(repo_id)
        if Hub.fails:
            raise Hub.fails
        files = [file.relative_to(there) for file in there.rglob("*") if file.is_file()]
        chosen = filter_repo_objects(
            files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns, key=str
        )
        for file in chosen:
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(there / file, here / file)
        return str(here)

    Hub.online.clear()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return Hub


@pytest.fixture
def animals_there(hub, animals, write_parquet):
    """The repository `ours/animals`: five training images in two files, and two test images."""
    images = [file.read_bytes() for file in sorted(animals.rglob("*")) if file.is_file()]
    root = hub.there / "dataset" / "ours" / "animals"
    names = ["cats", "dogs"]
    write_parquet(root / "data/train-00000-of-00002.parquet", images[:2], [0, 0], names)
    write_parquet(root / "data/train-00001-of-00002.parquet", images[2:], [0, 1, 1], names)
    write_parquet(root / "data/test-00000-of-00001.parquet", images[:2], [0, 0], names)
    (root / "README.md").write_text("animals")
    return root


def fetched(hub):
    return sorted(file.name for file in hub.here.rglob("*") if file.is_file())


def test_same_pictures_as_the_folder(hub, animals_there, animals):
    source = find_source("hub:ours/animals")
    assert source.name == "animals-train"
    assert source.classes == ("cats", "dogs")
    assert prepare("hub:ours/animals").fingerprint == prepare(str(animals)).fingerprint


def test_fetches_the_split_alone_and_once(hub, animals_there):
    keys = [find_source("hub:ours/animals").key for _ in range(2)]
    assert keys[0] == keys[1]
    assert fetched(hub) == [f"train-0000{i}-of-00002.parquet" for i in (0, 1)]
    assert len(hub.online) == 1
    assert find_source("hub:ours/animals", "test").count == 2  # which the cache has not
    assert len(hub.online) == 2
    hub.fails = ConnectionError("no route")
    assert [find_source("hub:ours/animals", s).count for s in ("train", "test")] == [5, 2]


def test_what_the_cache_lacks_is_fetched(hub, animals_there):
    file = "data/train-00000-of-00002.parquet"
    there = hub.here / "dataset" / "ours" / "animals" / file
    there.parent.mkdir(parents=True)
    shutil.copy2(animals_there / file, there)
    hub.fails = ConnectionError("no route")
    with pytest.raises(UserError, match=r"cannot fetch hub:ours/animals \(no route\)"):
        find_source("hub:ours/animals")
    hub.fails = None
    assert find_source("hub:ours/animals").count == 5


def test_files_at_the_top_and_without_a_split(hub, animals_there):
    for file in sorted((animals_there / "data").iterdir()):
        file.rename(animals_there / file.name.replace("train-", "part-"))
    assert find_source("hub:ours/animals").count == 5
    assert fetched(hub) == [f"part-0000{i}-of-00002.parquet" for i in (0, 1)]


def test_validation_by_its_other_names(hub, animals_there, write_parquet):
    (animals_there / "data/test-00000-of-00001.parquet").rename(animals_there / "data/val.parquet")
    assert find_source("hub:ours/animals", "validation").count == 2
    assert fetched(hub) == ["val.parquet"]


def test_no_such_split(hub, animals_there):
    expected = "the split 'validation' of hub:ours/animals has no parquet files, or the hub"
    with pytest.raises(UserError, match=expected):
        find_source("hub:ours/animals", "validation")
    with pytest.raises(UserError, match="'dev'"):
        find_source("hub:ours/animals", "dev")
    assert fetched(hub) == []


def test_without_a_test_split_another_one_is_held_out(hub, animals_there):
    (animals_there / "data/test-00000-of-00001.parquet").rename(animals_there / "data/val.parquet")
    train = prepare("hub:ours/animals")
    assert len(held_out(train).images) == 2
    (animals_there / "data/val.parquet").unlink()
    shutil.rmtree(hub.here)
    assert held_out(train) is train


def test_several_sets(hub, animals_there):
    shutil.copytree(animals_there / "data", animals_there / "small")
    with pytest.raises(
        UserError, match=r"hub:ours/animals has parquet files in several folders .*\(data, small\)"
    ):
        find_source("hub:ours/animals")


@pytest.mark.parametrize("name", ["", "animals", "ours/animals/data", "ours/..", "ours /animals"])
def test_no_name_of_a_repository(name, monkeypatch):
    with pytest.raises(UserError, match="is not the name of a repository: write hub:OWNER/NAME"):
        find_source(f"hub:{name}")


def refused(error):
    return error("401\nClient error", response=MagicMock())


FAILURES = [
    (refused(errors.GatedRepoError), "is gated: accept its terms at https://.*datasets/ours/anim"),
    (refused(errors.RepositoryNotFoundError), "the hub has no dataset ours/animals, or it is priv"),
    (
        refused(errors.HfHubHTTPError),
        r"cannot fetch hub:ours/animals \(401 Client error\): check the",
    ),
    (errors.LocalEntryNotFoundError("not\nhere"), r"cannot fetch hub:ours/animals \(not here\): "),
    (
        ConnectionError(),
        r"cannot fetch hub:ours/animals \(ConnectionError\): check the connection, or download",
    ),
]


@pytest.mark.parametrize(("error", "message"), FAILURES, ids=lambda e: type(e).__name__)
def test_what_cannot_be_fetched(hub, error, message):
    hub.fails = error
    with pytest.raises(UserError, match=message) as caught:
        find_source("hub:ours/animals")
    assert "\n" not in str(caught.value)


def test_the_reason_is_the_cause(hub):
    hub.fails = errors.LocalEntryNotFoundError("a paragraph about the cache")
    hub.fails.__cause__ = ConnectionError("no route to the hub")
    with pytest.raises(UserError, match=r"\(no route to the hub\)"):
        snapshot("ours/net", "model", ["*"])


def test_snapshot_of_a_model(hub):
    root = hub.there / "model" / "ours" / "net"
    (root / "unet").mkdir(parents=True)
    for name in ("unet/config.json", "unet/weights.bin", "unet/weights.safetensors"):
        (root / name).write_text("x")
    folder = snapshot("ours/net", "model", ["*.json", "*.safetensors"])
    assert (folder / "unet/config.json").is_file()
    assert fetched(hub) == ["config.json", "weights.safetensors"]
    assert snapshot("ours/net", "model", ["*.json", "*.safetensors"]) == folder
    assert len(hub.online) == 1


def save_vae(folder):
    """Save a small autoencoder in the format of diffusers."""
    config = VAEConfig(channels=(8, 8), blocks=1, groups=4)
    write_vae(folder, asdict(config), 3, VAE(config).state_dict(), [1.0], [0.0])


def test_a_model_whose_weights_are_not_here_is_fetched(hub):
    save_vae(hub.there / "model" / "ours" / "net")
    here = hub.here / "model" / "ours" / "net"
    here.mkdir(parents=True)
    shutil.copy2(hub.there / "model/ours/net/config.json", here / "config.json")
    assert is_autoencoder("hub:ours/net")
    assert load_codec("hub:ours/net", "cpu").latent_shape((3, 8, 8)) == (4, 4, 4)
    assert len(hub.online) == 1


@pytest.mark.parametrize("safe", [True, False])
def test_a_pipeline_is_loaded_by_its_name(hub, safe):
    net = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    root = hub.there / "model" / "ours" / "net"
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(root, safe_serialization=safe)
    if safe:
        net.save_pretrained(root / "unet", safe_serialization=False)
        net.save_pretrained(root / "unet", variant="fp16")
    (root / "README.md").write_text("a net")
    assert mz.load("hub:ours/net").sample(1, steps=1).shape == (1, 3, 8, 8)
    kind = "safetensors" if safe else "bin"
    weights = f"diffusion_pytorch_model.{kind}"
    assert fetched(hub) == ["config.json", weights, "model_index.json", "scheduler_config.json"]
    hub.fails = ConnectionError("no route to the hub")
    assert mz.load("hub:ours/net").shape == (3, 8, 8)
    with pytest.raises(UserError, match="no route to the hub"):
        mz.load("hub:ours/another")
    hub.fails = None


def test_of_a_pipeline_the_autoencoder_alone_is_fetched(hub):
    root = hub.there / "model" / "ours" / "net"
    save_vae(root / "vae")
    shutil.copytree(root / "vae", root / "unet")
    (root / "model_index.json").write_text("{}")
    load_codec("hub:ours/net", "cpu")
    weights = "diffusion_pytorch_model.safetensors"
    assert fetched(hub) == ["config.json", weights, "model_index.json"]
