"""The meaning of folders: one test for each layout, as a folder, a zip and a tar."""

import json
import os
import shutil
import tarfile
import unicodedata
import warnings
import zipfile

import pytest

import mezzotint as mz
from mezzotint.data import held_out
from mezzotint.data.find import find_source
from mezzotint.errors import UserError

from trees import grown, plant, png


@pytest.fixture(params=["folder", "zip", "tar", "tar.gz"])
def packed(request, tmp_path):
    """A function that passes a folder to the test as a folder, or as an archive."""

    def pack(folder):
        if request.param == "folder":
            return str(folder)
        path = tmp_path / f"packed.{request.param}"
        if request.param == "zip":
            return shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
        with tarfile.open(path, "w:gz" if request.param == "tar.gz" else "w") as archive:
            archive.add(folder, ".")
        return str(path)

    return pack


def found(data, split="train", **options):
    """Return the images of a split as (name, class), its classes, and its warnings."""
    from mezzotint.data.find import opened, recognise

    source = opened(*recognise(str(data)), split, **options)
    rows = [(item.name, item.label) for item in source.items()]
    assert source.count == len(rows)
    names = [(name, source.classes[k] if k >= 0 else None) for name, k in rows]
    return names, source.classes, source.warnings


def counts(data, split="train", **options):
    names, classes, _ = found(data, split, **options)
    return len(names), classes


@pytest.mark.parametrize(
    ("train", "held", "split"),
    [
        ("train", "test", "test"),
        ("Train", "Test", "test"),
        ("TRAIN", "VAL", "validation"),
        ("training", "testing", "test"),
        ("Training", "Validation", "val"),
        ("train", "dev", "validation"),
        ("train", "eval", "validation"),
        ("train", "valid", "dev"),
        ("training_set", "test_set", "test"),
        ("Training Data", "Testing Data", "testing"),
        ("train2017", "val2017", "validation"),
        ("seg_train", "seg_test", "test"),
    ],
)
def test_names_of_splits(tmp_path, train, held, split):
    root = plant(tmp_path / "d", grown([f"{train}/{c}" for c in ("cat", "dog")], 3))
    plant(root, grown([f"{held}/{c}" for c in ("cat", "dog")], 1))
    assert counts(root) == (6, ("cat", "dog"))
    assert counts(root, split) == (2, ("cat", "dog"))


@pytest.mark.parametrize("wrappers", ["flowers", "archive/flowers", "a/a/a"])
def test_lone_folders_are_entered(tmp_path, packed, wrappers):
    root = plant(tmp_path / "d", grown([f"{wrappers}/{c}" for c in ("cat", "dog")]))
    assert counts(packed(root)) == (4, ("cat", "dog"))
    shutil.rmtree(root)
    folders = [f"{wrappers}/{split}/{c}" for split in ("train", "val") for c in ("cat", "dog")]
    root = plant(tmp_path / "d", [*grown(folders), "notes.md"])
    (root / "notes.md").write_text("about the flowers")
    assert counts(packed(root)) == (4, ("cat", "dog"))
    assert counts(packed(root), "validation") == (4, ("cat", "dog"))


def test_a_folder_unpacked_into_one_of_its_name(tmp_path):
    plant(tmp_path / "d", grown(["seg_train/seg_train/sea", "seg_train/seg_train/street"]))
    plant(tmp_path / "d", grown(["seg_test/seg_test/sea", "seg_pred/seg_pred"], 1))
    names, classes, (warning,) = found(tmp_path / "d")
    assert (len(names), classes) == (4, ("sea", "street"))
    assert "1 image outside the folders that are read (seg_pred/seg_pred/0.png)" in warning


def test_a_lone_folder_of_images_is_one_class(tmp_path):
    assert counts(plant(tmp_path / "d", grown(["only"]))) == (2, ("only",))
    assert counts(plant(tmp_path / "e", grown(["images"]))) == (2, ())


def test_classes_beside_a_folder_called_train(tmp_path, packed):
    data = packed(plant(tmp_path / "d", grown(["bus", "car", "train"])))
    expected = (
        r"bus, car beside train, so it is unclear whether train means a split or a class: if all"
    )
    for conditional in (True, False):
        with pytest.raises(UserError, match=expected):
            found(data, conditional=conditional)
    plant(tmp_path / "e", grown(["train/bus", "train/car", "train/train"]))
    assert counts(tmp_path / "e")[1] == ("bus", "car", "train")


def test_class_folders_beside_a_held_out_split(tmp_path):
    root = plant(tmp_path / "d", grown(["cat", "dog", "test/cat", "test/dog"]))
    with pytest.raises(
        UserError, match="cat, dog beside test, so it is unclear whether test means a split or a"
    ):
        found(root)


def test_what_is_held_out_was_not_trained_on(tmp_path):
    root = plant(tmp_path / "d", grown(["valid", "invalid"]))
    with pytest.warns(UserWarning, match="valid lies beside invalid and is taken as a class"):
        train = mz.prepare(root)
    assert train.classes == ("invalid", "valid")
    assert held_out(train) is train
    with pytest.raises(UserError, match="no split 'validation'"):
        mz.prepare(root, split="validation")
    both = plant(tmp_path / "e", grown(["train"]))
    (both / "test").symlink_to(both / "train")
    train = mz.prepare(both)
    assert held_out(train) is train


def test_a_file_of_a_test_set_is_not_held_out_of_itself(tmp_path, write_parquet):
    path = str(write_parquet(tmp_path / "test-00000-of-00001.parquet", [png(0), png(1)]))
    train = mz.prepare(path)
    assert held_out(train) is train


def test_parts_of_imagenet_100(tmp_path, packed):
    names = {f"n0{k}": f"animal {k}, creature" for k in range(1, 5)}
    root = plant(
        tmp_path / "d",
        grown(["train.X1/n01", "train.X1/n03", "train.X2/n02", "train.X4/n04", "val.X/n01"]),
        {"Labels.json": json.dumps(names)},
    )
    data = packed(root)
    rows, classes, _ = found(data)
    assert classes == tuple(names.values())
    assert [name for name, _ in rows[::2]] == [
        *("train.X1/n01/0.png", "train.X2/n02/0.png", "train.X1/n03/0.png", "train.X4/n04/0.png"),
    ]
    assert counts(data, "validation") == (2, ("animal 1, creature",))
    (root / "Labels.json").write_text('{"n01": "shark", "n02": "crane", "n03": "crane"}')
    assert counts(root)[1] == ("n01", "n02", "n03", "n04")  # n04 has no name
    (root / "Labels.json").write_text(json.dumps({**names, "n03": names["n01"]}))
    assert counts(root)[1][::2] == ("animal 1, creature (n01)", "animal 1, creature (n03)")


def test_two_folders_of_one_split(tmp_path):
    root = plant(tmp_path / "d", grown(["Train/a", "train/a", "test/a"]))
    with pytest.raises(UserError, match="Train and train, which are names of the same split"):
        found(root)
    root = plant(tmp_path / "e", grown(["train2014/a", "train2017/a", "test/a"]))
    with pytest.raises(UserError, match="train2014 and train2017, each of which may be"):
        found(root)


def test_imagenet_as_published(tmp_path):
    inner = "ILSVRC/Data/CLS-LOC"
    root = plant(
        tmp_path / "d",
        [
            *grown([f"{inner}/train/n01", f"{inner}/train/n02"]),
            *(f"{inner}/val/ILSVRC2012_val_0000000{k}.JPEG" for k in (1, 2, 3)),
            f"{inner}/test/ILSVRC2012_test_00000001.JPEG",
        ],
        {
            "ILSVRC/Annotations/CLS-LOC/train/n01/n01_1.xml": "<annotation></annotation>",
            "ILSVRC/ImageSets/CLS-LOC/val.txt": "ILSVRC2012_val_00000001 1\n",
            "LOC_val_solution.csv": "ImageId,PredictionString\n"
            "ILSVRC2012_val_00000003,n01 85 1 499 272\nILSVRC2012_val_00000001,n02 1 2 3 4 \n"
            "ILSVRC2012_val_00000002,n01 8 1 2 3 n01 4 4 5 6\n",
            "LOC_synset_mapping.txt": "n01 tench, Tinca tinca\nn02 goldfish\n",
        },
    )
    assert counts(root) == (4, ("n01", "n02"))
    rows, _, _ = found(root, "val")
    assert [label for _, label in rows] == ["n02", "n01", "n01"]
    assert counts(root, "test") == (1, ())
    assert counts(root / "ILSVRC") == (4, ("n01", "n02"))
    assert counts(root / "ILSVRC", "val") == (3, ())  # the table lies outside


def test_tiny_imagenet(tmp_path, packed):
    root = plant(
        tmp_path / "tiny-imagenet-200",
        [
            *grown(["train/n01/images", "train/n02/images"]),
            *(f"val/images/val_{k}.JPEG" for k in range(3)),
            "test/images/test_0.JPEG",
        ],
        {
            "wnids.txt": "n01\nn02\n",
            "words.txt": "n01\tgoldfish\nn02\tfrog\n",
            "train/n01/n01_boxes.txt": "0.png\t0\t10\t63\t58\n",
            "val/val_annotations.txt": "val_0.JPEG\tn02\t0\t32\t44\t62\n"
            "val_1.JPEG\tn01\t52\t55\t57\t59\nval_2.JPEG\tn02\t4\t0\t60\t55\n",
        },
    )
    data = packed(root)
    rows, classes, warned = found(data)
    assert (len(rows), classes, warned) == (4, ("n01", "n02"), ())
    assert [label for _, label in found(data, "validation")[0]] == ["n02", "n01", "n02"]
    assert counts(data, "test") == (1, ())


def test_a_table_that_does_not_fit_gives_no_labels(tmp_path):
    root = plant(tmp_path / "d", [*grown(["train/0", "train/1"]), *grown(["val"])])
    for text in (
        "0.png,1\n",  # an image is missing
        "0.png,1\n1.png,7\n",  # no such class
        "0.png,1,0\n1.png,0,1\n",  # two columns that may be the class
        "nothing\n",
    ):
        (root / "val.csv").write_text(text)
        assert counts(root, "val") == (2, ())
    (root / "val.csv").write_text("path,size,class\nval/0.png,40,1\nval/1.png,41,0\n")
    assert [label for _, label in found(root, "val")[0]] == ["1", "0"]
    (root / "val.csv").write_text("0.png,1\n1.png,0\n0.png,1\n")
    assert [label for _, label in found(root, "val")[0]] == ["1", "0"]
    (root / "val.csv").write_text("a/0.png,1\nval/1.png,0\nval/0.png,0\n")
    with pytest.raises(mz.UserError, match=r"several rows for 0\.png, with different classes"):
        found(root, "val")


def test_labels_in_dataset_json(tmp_path, packed):
    names = [f"00000/img0000000{k}.png" for k in range(4)]
    labels = [[name, k] for name, k in zip(names, (1, 0, 2, 1), strict=True)]
    root = plant(tmp_path / "d", names, {"dataset.json": json.dumps({"labels": labels})})
    rows, classes, _ = found(packed(root))
    assert classes == ("0", "1", "2")
    assert [label for _, label in rows] == ["1", "0", "2", "1"]
    for wrong, what in (
        (labels[1:], "no label for 1 of 4 images, such as 00000/img00000000.png"),
        ([[name, 0.5] for name in names], "has the label 0.5: give integers"),
        (7, "not a list"),
        ([*labels, [names[0], 2]], "has different labels for 00000/img00000000.png"),
    ):
        (root / "dataset.json").write_text(json.dumps({"labels": wrong}))
        with pytest.raises(UserError, match=what):
            found(root)
        assert counts(root, conditional=False) == (4, ())
    (root / "dataset.json").write_text('{"labels": null}')
    assert counts(root) == (4, ())
    for broken in ("x", "[" * 100_000):
        (root / "dataset.json").write_text(broken)
        with pytest.raises(UserError, match=r"dataset\.json cannot be read as JSON"):
            found(root)
        assert counts(root, conditional=False) == (4, ())


def test_classes_sort_naturally_and_compare_in_nfc(tmp_path, packed):
    apart, whole = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    names = ["1", "10", "2", "9" * 100, "1" + "0" * 100, "a-10", "a-9", "a-010", apart, "recycled"]
    root = plant(tmp_path / "d", grown(names, 1))
    assert found(packed(root))[1] == (
        *("1", "2", "10", "9" * 100, "1" + "0" * 100, "a-9", "a-010", "a-10", whole, "recycled"),
    )
    plant(root, grown([whole]))
    with pytest.raises(
        UserError, match="class folders whose names differ only in their Unicode form"
    ):
        found(packed(root))


def test_rows_of_classes_keep_their_order(tmp_path):
    root = plant(tmp_path / "d", [f"{c}/{i}.png" for c in ("b", "a") for i in (10, 1, 2)])
    names = [name for name, _ in found(root)[0]]
    assert names == ["a/1.png", "a/10.png", "a/2.png", "b/1.png", "b/10.png", "b/2.png"]


def test_a_class_folder_that_holds_only_folders(tmp_path):
    root = plant(tmp_path / "d", grown([f"{k}/{c}" for k in ("colour", "grey") for c in "ab"]))
    warning = found(root)[2]
    assert "2 of 2 class folders (colour, grey) hold only folders" in warning[0]
    root = plant(tmp_path / "e", grown(["cat", "dog/pug", "dog/poodle"]))
    assert "1 of 2 class folders (dog) holds only folders" in found(root)[2][0]
    root = plant(tmp_path / "f", grown(["cat/images", "dog/images"]))
    assert found(root)[2] == ()


def test_splits_inside_of_classes(tmp_path, packed):
    folders = [f"{c}/{s}" for c in ("cat", "dog") for s in ("Train", "Test")]
    data = packed(plant(tmp_path / "d", [*grown(folders), "dog/Train/x.png"]))
    assert counts(data) == (5, ("cat", "dog"))
    assert counts(data, "test") == (4, ("cat", "dog"))


def test_masks_beside_images(tmp_path):
    root = plant(tmp_path / "d", [*grown(["images/cat", "images/dog"]), *grown(["masks"])])
    names, classes, (warning,) = found(root)
    assert (len(names), classes) == (4, ("cat", "dog"))
    assert "2 images outside the folders that are read (masks/0.png, masks/1.png)" in warning


def test_masks_inside_of_classes(tmp_path):
    folders = [f"{c}/{k}" for c in ("a", "b") for k in ("images", "masks")]
    names, classes, (warning,) = found(plant(tmp_path / "d", grown(folders)))
    assert [name for name, _ in names[::2]] == ["a/images/0.png", "b/images/0.png"]
    assert classes == ("a", "b")
    assert "leaves out 4 images outside the folders that are read" in warning


def test_masks_beside_the_images_of_a_class(tmp_path):
    folders = ["a", "a/masks", "a/sitting", "b", "b/masks"]
    names, classes, (warning,) = found(plant(tmp_path / "d", grown(folders)))
    read = ["a/0.png", "a/1.png", "a/sitting/0.png", "a/sitting/1.png", "b/0.png", "b/1.png"]
    assert [name for name, _ in names] == read
    assert classes == ("a", "b")
    assert "leaves out 4 images outside the folders that are read" in warning


def test_two_kinds_of_images_as_cyclegan_has_them(tmp_path, packed):
    folders = [f"{split}{letter}" for split in ("train", "test") for letter in "AB"]
    data = packed(plant(tmp_path / "d", [*grown(folders), "trainB/x.png"]))
    assert counts(data) == (5, ("A", "B"))
    assert counts(data, "test") == (4, ("A", "B"))
    root = plant(tmp_path / "e", grown(["trainA", "trainB"]))
    assert counts(root)[1] == ("trainA", "trainB")


def test_a_set_cut_into_numbered_parts(tmp_path):
    for i, names in enumerate(
        (["images_001/images", "images_002/images"], ["00000", "01000"], ["part_1", "part_2"])
    ):
        assert counts(plant(tmp_path / str(i), grown(names))) == (4, ())
    assert counts(plant(tmp_path / "x", grown(["00000", "00001"])))[1] == ("00000", "00001")
    assert counts(plant(tmp_path / "y", grown(["10000", "50000"])))[1] == ("10000", "50000")


LITTER = (
    *("Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", ".DS_Store", "Icon\r", "ehthumbs.db"),
    *("lost+found/", "__pycache__/x.png", "@eaDir/0.png", "#recycle/0.png", "$RECYCLE.BIN/0.png"),
    *("$Recycle.Bin/0.png", "System Volume Information/0.png", "__MACOSX/cat/._0.png"),
    *("#snapshot/cat/0.png", "0.png:Zone.Identifier", "._0.png", ".ipynb_checkpoints/0.png"),
    *("@Recycle/0.png", "RECYCLER/0.png", "@Recently-Snapshot/0.png", ".AppleDouble/0.png"),
)


@pytest.mark.parametrize("place", ["", "cat/", "train/"])
def test_litter(tmp_path, packed, place):
    root = plant(
        tmp_path / "d",
        grown(["train/cat", "train/dog"]) if place == "train/" else grown(["cat", "dog"]),
    )
    plant(root, [place + name for name in LITTER])
    data = packed(root)
    assert counts(data) == (4, ("cat", "dog"))
    assert find_source(data).left_out == ()


def test_sidecars_are_left_out_with_a_count(tmp_path, packed):
    names = ("README.md", "labels.csv", "cat/0.txt", "dog/0.json", "metadata.jsonl")
    root = plant(tmp_path / "d", grown(["cat", "dog"]), dict.fromkeys(names, "x"))
    source = find_source(packed(root))
    assert source.count == 4
    (left,) = source.left_out
    expected = "5 files that are not images (README.md, cat/0.txt, dog/0.json, ...)"
    assert str(left) == expected
    assert source.notes == (f"left out: {expected}",)
    (root / "README.md").unlink()
    prepared = mz.prepare(root)
    assert "4 files that are not images (cat/0.txt, dog/0.json, labels.csv, ...)" in repr(prepared)
    (root / "labels.csv").unlink()
    os.mkfifo(root / "p.png")
    again = mz.prepare(root)  # the entry of the cache serves it still; what lies beside is new
    assert again.folder == prepared.folder
    assert {*again.notes} == {
        "left out: 3 files that are not images (cat/0.txt, dog/0.json, metadata.jsonl)",
        "left out: 1 entry that is not a file (p.png)",
    }


def test_images_are_known_by_their_first_bytes(tmp_path, packed):
    root = plant(tmp_path / "d", ["cat/0", "cat/1.dat", "dog/a.b", "dog/x.jpg_large"])
    (root / "dog" / "notes").write_text("BM is a manufacturer, P5 a phone, II* nothing")
    assert counts(packed(root)) == (4, ("cat", "dog"))


def test_only_regular_files_are_opened(tmp_path):
    root = plant(tmp_path / "d", grown(["cat", "dog"]))
    for name in ("p.png", "cat/pipe"):
        os.mkfifo(root / name)
    (root / "dog" / "null.png").symlink_to("/dev/null")
    source = find_source(str(root))
    assert source.count == 4
    assert str(source.left_out[0]) == (
        "3 entries that are not files (cat/pipe, dog/null.png, p.png)"
    )


def test_a_runs_own_folder_is_never_data(tmp_path):
    root = plant(tmp_path / "d", grown(["cat", "dog"]))
    before = find_source(str(root)).key
    run = {"runs/a/config.json": "{}", "runs/a/log.jsonl": "{}", "e/figures.jsonl": "{}"}
    plant(root, ["runs/a/samples/0.png", "runs/a/samples.png", "e/nearest.png"], run)
    source = find_source(str(root))
    assert (source.key, source.classes) == (before, ("cat", "dog"))
    assert str(source.left_out[0]) == "2 folders of runs or their figures (e, runs/a)"
    plant(root / "cat", (), {"figures.jsonl": "{}"})  # measured once, and kept beside
    assert counts(root / "cat") == (2, ())
    with pytest.raises(UserError, match="runs/a is the folder of a run, not data"):
        find_source(str(root / "runs" / "a"))
    assert counts(root / "runs" / "a" / "samples") == (1, ())


def test_unlabelled_images_at_any_depth(tmp_path, packed):
    root = plant(tmp_path / "d", [*grown(["."], 3), *grown(["New Folder (2)", "x/y"])])
    data = packed(root)
    with pytest.raises(UserError, match=r"images beside its class folders \(0.png, 1.png, 2.png\)"):
        found(data)
    assert counts(data, conditional=False) == (7, ())
    (root / "empty").mkdir()
    assert counts(packed(root), conditional=False) == (7, ())


def test_labels_stay_where_they_can_be_read(tmp_path):
    root = plant(tmp_path / "d", grown(["cat", "dog"]))
    wanted, not_wanted = mz.prepare(root), mz.prepare(root, conditional=False)
    assert wanted.fingerprint == not_wanted.fingerprint  # so that runs of before go on
    assert (wanted.conditional, not_wanted.conditional) == (True, False)
    with pytest.raises(UserError, match="`conditional` is 1: give True or False"):
        mz.prepare(root, conditional=1)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["data-00000-of-00001.arrow", "state.json"], "Arrow files of save_to_disk"),
        (["train.tfrecord"], "TFRecord"),
        (["data.mdb", "lock.mdb"], "LMDB"),
        (["flowers.zip"], r"it holds flowers\.zip: give that path"),
        (["a/images.tar.gz"], r"it holds a/images\.tar\.gz: give that path"),
        (["features.h5"], "HDF5"),
        (["cifar-100-python/train", "cifar-100-python/meta"], "CIFAR-100's own files: give hub:"),
        (["notes.txt"], "give a folder, a zip or a tar of image files"),
    ],
)
def test_folders_without_images_name_the_way_out(tmp_path, files, what):
    plant(tmp_path / "d", (), dict.fromkeys(files, "x"))
    with pytest.raises(UserError, match=f"holds no images: .*{what}"):
        find_source(str(tmp_path / "d"))


def test_errors_name_a_few_and_count_the_rest(tmp_path):
    root = plant(tmp_path / "d", [*grown(["cat"]), *(f"empty{k}/" for k in range(100))])
    with pytest.raises(UserError, match=r"\(empty0, empty1, empty10 and 97 more\)"):
        find_source(str(root))
    root = plant(tmp_path / "e", (), {f"{k}.png": "x" for k in range(100)})
    with pytest.raises(UserError, match=r"100 of 100 images cannot be read: .* and 95 more; rem"):
        mz.prepare(root)


def test_warnings_come_once(tmp_path):
    root = plant(tmp_path / "d", grown([f"{k}/{c}" for k in ("x", "y") for c in "ab"]))
    with pytest.warns(UserWarning, match="hold only folders") as caught:
        mz.prepare(root)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "hold only folders" in mz.prepare(root).notes[0]


@pytest.mark.parametrize("labels", ["", "[]", "null"])
def test_an_empty_folder_has_no_images(tmp_path, labels):
    texts = {"dataset.json": f'{{"labels": {labels}}}'} if labels else {}
    root = plant(tmp_path / "d", ["00000/"], texts)
    for conditional in (True, False):
        with pytest.raises(UserError, match=r"class folders without images \(00000\)"):
            mz.prepare(root, conditional=conditional)


def test_an_empty_tar_has_no_images(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    with pytest.raises(UserError, match=r"x\.tar holds no images"):
        find_source(str(tmp_path / "x.tar"))


def test_links_in_a_zip_are_counted_as_left_out(tmp_path):
    link = zipfile.ZipInfo("1.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("0.png", png())
        archive.writestr(link, "0.png")
    source = find_source(str(tmp_path / "x.zip"))
    assert source.notes == ("left out: 1 entry that is not a file (1.png)",)


def test_backslashes_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("cat", "dog"):
            info = zipfile.ZipInfo("x")
            info.filename = f"set\\{name}\\0.png"
            archive.writestr(info, png())
    assert counts(tmp_path / "x.zip") == (2, ("cat", "dog"))


def test_images_to_measure_need_no_labels(tmp_path):
    from mezzotint.evaluation.against import images_of

    root = plant(tmp_path / "album", [*grown(["."]), *grown(["x"])])
    assert len(images_of(root)) == 4
    assert images_of(plant(tmp_path / "d", grown(["cat", "dog"]))).classes == ("cat", "dog")
