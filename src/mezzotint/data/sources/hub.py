"""Data sets of the Hugging Face Hub that hold their parquet files in a single folder."""

from dataclasses import replace
from functools import partial

from mezzotint.data.naming import shown
from mezzotint.data.source import SPLITS, Kind, NoSplit, Source, split_names
from mezzotint.data.sources.parquet import parquet
from mezzotint.errors import UserError
from mezzotint.storage.hub import snapshot


def hub(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of one split of `hub:OWNER/NAME`; only that split is downloaded.

    Raises:
        NoSplit: If the data set has no parquet files of the split, or if the hub cannot be reached
            and the cache has only other files of the data set.
        UserError: If the download fails, the data set has parquet files in several folders, or
            `parquet` refuses it.
    """
    name = data.removeprefix("hub:")
    others = set(SPLITS) - set(split_names(split))
    starts = tuple(f"{other}{mark}" for other in sorted(others) for mark in "-.")
    ignore = [f"{folder}{start}*" for folder in ("", "*/") for start in starts]
    root = snapshot(name, "dataset", ["*.parquet"], ignore)
    files = [file for file in root.rglob("*.parquet") if not file.name.startswith(starts)]
    folders = sorted({file.parent for file in files})
    if not folders:
        page = f"https://huggingface.co/datasets/{name}/tree/main"
        raise NoSplit(
            f"the split {split!r} of hub:{name} has no parquet files, or the hub cannot be reached "
            f"and none were downloaded before: check the connection, and the splits at {page}"
        )
    if len(folders) > 1:
        names = shown([folder.relative_to(root).as_posix() for folder in folders], 5)
        raise UserError(
            f"hub:{name} has parquet files in several folders ({names}): give the path of "
            f"one of these folders; the split {split!r} was downloaded to {root}"
        )
    found = parquet(str(folders[0]), split, conditional)
    return replace(found, name=f"{name.split('/')[-1]}-{split}")


KIND = Kind("hub:OWNER/NAME", hub, plain=partial(hub, conditional=False))
