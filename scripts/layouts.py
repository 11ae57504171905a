"""Build small copies of the layouts of public data sets, and write how mezzotint reads each one.

    python scripts/layouts.py            write docs/results/layouts.md
    python scripts/layouts.py --check    exit with code 1 if that page is not up to date

Most layouts come from a README, or from published code that reads the data set. Nothing is
downloaded. Images have 4x4 pixels, and each folder has two. Other files hold only the lines that
mezzotint reads.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

import mezzotint as mz

PAGE = Path(__file__).parents[1] / "docs" / "results" / "layouts.md"
HEAD = """# Layouts of public data sets

`python scripts/layouts.py` builds a small copy of each layout, calls `mz.describe` on it, and
writes this page. [What a folder means](../folders.md) has the rules by which mezzotint reads a
folder. About forty of the layouts are described in a README or in published code that reads the
data set. In that case, the first column names the repository. The other layouts, mostly from
torchvision and Kaggle, are written from general knowledge. In the second column, `{a,b}` stands
for two names, a and b. A path without a file extension is a folder with two images. In the fourth
column, DATA is the path of the folder.

The column *verdict* compares *splits that mezzotint finds* with *splits of the data set*:

- *right*: mezzotint finds the splits, numbers of images and class names of the data set.
- *right, and warned*: all this is right, and a warning names the images that are left out.
- *warned*: something differs, and a warning says what may be wrong.
- *refused*: mezzotint does not read the data, and a message says why.
- *wrong*: something differs, and there is no warning. No layout is wrong.

"""


@dataclass(frozen=True)
class Layout:
    """The layout of a data set.

    Attributes:
        name: The name of the data set.
        source: The place where its layout is described.
        images: The paths of its images, with braces. A path without a file extension is a folder of
            two images.
        means: The number of images of each split, and its classes, as the data set defines them.
        texts: The other files and their content.
        expected: The verdict that `judged` must return.
    """

    name: str
    source: str
    images: tuple[str, ...]
    means: dict[str, tuple[int, str]]
    texts: dict[str, str] = field(default_factory=dict)
    expected: str = "right"


def spread(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with braces stands for."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        yield pattern
        return
    for part in found[1].split(","):
        yield from spread(pattern[: found.start()] + part + pattern[found.end() :])


def build(layout: Layout, root: Path) -> None:
    """Write the files of a layout."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    for name in (name for pattern in layout.images for name in spread(pattern)):
        single = Path(name).suffix in (".png", ".jpg", ".ppm", ".JPEG")
        for path in [name] if single else [f"{name}/{i}.png" for i in range(2)]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(buffer.getvalue())
    for pattern, text in layout.texts.items():
        for name in spread(pattern):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)


def judged(layout: Layout) -> tuple[str, str]:
    """Return how mezzotint reads a layout, and the verdict on it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "d"
        build(layout, root)
        try:
            found = mz.describe(root)
        except mz.UserError as error:
            return f"refused: {shortened(str(error), str(root))}", "refused"
    splits = {
        split.name: (split.images, " ".join(split.classes).replace(",", ""))
        for split in found.splits
        if not split.problem
    }
    meant = {
        name: (count, classes.replace(",", " ")) for name, (count, classes) in layout.means.items()
    }
    said = "; ".join(
        f"{name}: {count}" + (f" in {len(split.classes)} classes" if split.classes else "")
        for (name, (count, _)), split in zip(splits.items(), found.splits, strict=False)
    )
    warned = "".join(f"; warns: {shortened(w, str(root))}" for w in found.warnings)
    right = splits == meant
    verdict = "right" if right else "warned" if found.warnings else "wrong"
    return said + warned, "right, and warned" if right and found.warnings else verdict


def shortened(text: str, root: str) -> str:
    """Return a message with DATA in place of the temporary folder."""
    return text.replace(root + "/", "").replace(root, "DATA")


def page() -> str:
    """Return the text of the page. Exit if a verdict is not the expected one."""
    surprises = []
    lines = [
        "| data set | layout | splits of the data set | splits that mezzotint finds | verdict |",
        "|---|---|---|---|---|",
    ]
    counts: dict[str, int] = {}
    for layout in LAYOUTS:
        understood, verdict = judged(layout)
        if verdict != layout.expected:
            surprises.append(
                f"{layout.name}: the verdict is {verdict}, expected {layout.expected}: {understood}"
            )
        counts[verdict] = counts.get(verdict, 0) + 1
        shown = ", ".join(f"`{name}`" for name in (*layout.images, *layout.texts))
        means = "; ".join(
            f"{split}: {count}" + (f" in {len(classes.split(','))} classes" if classes else "")
            for split, (count, classes) in layout.means.items()
        )
        name = f"{layout.name} ({layout.source})"
        lines.append(f"| {name} | {shown} | {means} | {understood} | {verdict} |")
    if surprises:
        sys.exit("\n".join(surprises))
    most_first = sorted(counts.items(), key=lambda pair: -pair[1])
    total = "; ".join(f"*{verdict}* for {count}" for verdict, count in most_first)
    said = f"The verdicts on the {len(LAYOUTS)} layouts are {total}.\n\n"
    return HEAD + said + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or check that it is up to date."""
    warnings.simplefilter("ignore")
    content = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text() == content else f"{PAGE} is not up to date")
    PAGE.write_text(content)


L = Layout
TWO = "a,b"
LAYOUTS = (
    L(
        "ImageNet on Kaggle",
        "the competition's page",
        (
            "ILSVRC/Data/CLS-LOC/train/{n01,n02}",
            "ILSVRC/Data/CLS-LOC/val/v{1,2,3}.JPEG",
            "ILSVRC/Data/CLS-LOC/test/t1.JPEG",
        ),
        {"train": (4, "n01,n02"), "validation": (3, "n01,n02"), "test": (1, "")},
        {
            "ILSVRC/Annotations/CLS-LOC/train/n01/n01_1.xml": "<annotation/>",
            "ILSVRC/ImageSets/CLS-LOC/val.txt": "v1 1\n",
            "LOC_val_solution.csv": "ImageId,PredictionString\nv1,n01 1 2 3 4\nv2,n02 1 2 3 4\n"
            "v3,n01 1 2 3 4\n",
            "LOC_synset_mapping.txt": "n01 tench\nn02 goldfish\n",
        },
    ),
    L(
        "ImageNet for torchvision",
        "torchvision's ImageNet",
        ("{train,val}/{n01,n02}",),
        {"train": (4, "n01,n02"), "validation": (4, "n01,n02")},
        {"meta.bin": "x"},
    ),
    L(
        "ImageNet for CoOp",
        "ZiyuGuo99/CALIP, DATASET.md",
        ("images/{train,val}/{n01,n02}",),
        {"train": (4, "n01,n02"), "validation": (4, "n01,n02")},
        {"classnames.txt": "n01 tench\nn02 goldfish\n"},
    ),
    L(
        "ImageNet-100",
        "Kaggle, ambityga/imagenet100",
        ("train.X{1,2}/{n01,n02}", "train.X3/n03", "val.X/{n01,n02,n03}"),
        {"train": (10, "tench,gold fish,shark"), "validation": (6, "tench,gold fish,shark")},
        {"Labels.json": '{"n01": "tench", "n02": "gold fish", "n03": "shark"}'},
    ),
    L(
        "Tiny ImageNet",
        "deepwiki, wannabeOG/MAS-PyTorch",
        ("train/{n01,n02}/images", "val/images/v{1,2}.JPEG", "test/images/t1.JPEG"),
        {"train": (4, "n01,n02"), "validation": (2, "n01,n02"), "test": (1, "")},
        {
            "val/val_annotations.txt": "v1.JPEG\tn02\t0\t0\t9\t9\nv2.JPEG\tn01\t0\t0\t9\t9\n",
            "train/{n01,n02}/boxes.txt": "x",
            "wnids.txt": "n01\nn02\n",
            "words.txt": "n01\ttench\n",
        },
    ),
    L(
        "Imagenette",
        "fastai/imagenette",
        ("imagenette2-160/{train,val}/{n01,n02}",),
        {"train": (4, "n01,n02"), "validation": (4, "n01,n02")},
        {"imagenette2-160/noisy_imagenette.csv": "path,noisy\n"},
    ),
    L(
        "ImageNet-R",
        "mlvlab/RPO, DATASETS.md",
        ("imagenet-r/{n01,n02}",),
        {"train": (4, "n01,n02")},
        {"imagenet-r/README.txt": "x"},
    ),
    L(
        "ImageNet-Sketch",
        "mlvlab/RPO, DATASETS.md",
        ("images/{n01,n02}",),
        {"train": (4, "n01,n02")},
        {"classnames.txt": "n01 tench\n"},
    ),
    L(
        "ImageNetV2",
        "mlvlab/RPO, DATASETS.md",
        ("imagenetv2-matched-frequency-format-val/{0,1,2,10}",),
        {"train": (8, "0,1,2,10")},
        {"classnames.txt": "n01 tench\n"},
    ),
    L(
        "CIFAR-10 as PNG",
        "Ultralytics, classification data sets",
        ("cifar-10/{train,test}/{airplane,automobile,bird}",),
        {"train": (6, "airplane,automobile,bird"), "test": (6, "airplane,automobile,bird")},
    ),
    L(
        "CIFAR-10 of fastai",
        "pjreddie's cifar.tgz, rearranged",
        ("cifar10/{train,test}/{airplane,bird}",),
        {"train": (4, "airplane,bird"), "test": (4, "airplane,bird")},
        {"cifar10/labels.txt": "airplane\nbird\n"},
    ),
    L(
        "CIFAR-10 of ADM",
        "forever208/ADM-ES, datasets/README.md",
        ("cifar_train/{truck,frog}_1.png", "cifar_test/frog_2.png"),
        {"train": (2, ""), "test": (1, "")},
    ),
    L(
        "MNIST as PNG",
        "myleott/mnist_png",
        ("mnist_png/{training,testing}/{0,1,10}",),
        {"train": (6, "0,1,10"), "test": (6, "0,1,10")},
    ),
    L(
        "Caltech-101",
        "mmpretrain, caltech101.py",
        ("101_ObjectCategories/{accordion,ant}",),
        {"train": (4, "accordion,ant")},
        {"Annotations/{accordion,ant}/a.mat": "x", "meta/{train,test}.txt": "x"},
    ),
    L(
        "Oxford-IIIT Pets",
        "torchvision, OxfordIIITPet",
        ("images/{Abyssinian,beagle}_1.jpg", "annotations/trimaps/{Abyssinian,beagle}_1.png"),
        {"train": (2, "")},
        {"annotations/list.txt": "x"},
        expected="right, and warned",
    ),
    L(
        "Stanford Cars",
        "torchvision, StanfordCars",
        ("cars_train/{1,2,3}.jpg", "cars_test/1.jpg"),
        {"train": (3, ""), "test": (1, "")},
        {"devkit/cars_meta.mat": "x", "cars_test_annos_withlabels.mat": "x"},
    ),
    L(
        "Oxford Flowers 102",
        "torchvision, Flowers102",
        ("jpg/image_{1,2,3}.jpg",),
        {"train": (3, "")},
        {"imagelabels.mat": "x", "setid.mat": "x"},
    ),
    L(
        "Oxford Flowers in folders",
        "Udacity's image classifier project",
        ("flowers/{train,valid,test}/{1,2,10}",),
        {"train": (6, "1,2,10"), "validation": (6, "1,2,10"), "test": (6, "1,2,10")},
        {"cat_to_name.json": '{"1": "pink primrose"}'},
    ),
    L(
        "Food-101",
        "torchvision, Food101",
        ("food-101/images/{apple_pie,sushi}",),
        {"train": (4, "apple_pie,sushi")},
        {"food-101/meta/{train,test}.txt": "apple_pie/1\n", "food-101/license_agreement.txt": "x"},
    ),
    L(
        "FGVC Aircraft",
        "torchvision, FGVCAircraft",
        ("fgvc-aircraft-2013b/data/images/{1,2,3}.jpg",),
        {"train": (3, "")},
        {"fgvc-aircraft-2013b/data/images_train.txt": "1\n", "fgvc-aircraft-2013b/README": "x"},
    ),
    L(
        "SUN397",
        "torchvision, SUN397",
        ("SUN397/a/{abbey,alley}", "SUN397/b/{bakery,bar}"),
        {"train": (8, "abbey,alley,bakery,bar")},
        {"SUN397/ClassName.txt": "/a/abbey\n"},
        expected="warned",
    ),
    L(
        "Describable Textures",
        "torchvision, DTD",
        ("dtd/images/{banded,dotted}",),
        {"train": (4, "banded,dotted")},
        {"dtd/labels/train1.txt": "x", "dtd/imdb/imdb.mat": "x"},
    ),
    L(
        "EuroSAT",
        "torchvision, EuroSAT",
        ("2750/{AnnualCrop,Forest}",),
        {"train": (4, "AnnualCrop,Forest")},
    ),
    L(
        "UC Merced",
        "TorchGeo, UCMerced",
        ("UCMerced_LandUse/Images/{airplane,beach}",),
        {"train": (4, "airplane,beach")},
        {"UCMerced_LandUse/readme.txt": "x"},
    ),
    L(
        "UCF-101 in middle frames",
        "mlvlab/RPO, DATASETS.md",
        ("UCF-101-midframes/{Apply_Makeup,Archery}",),
        {"train": (4, "Apply_Makeup,Archery")},
        {"split_zhou_UCF101.json": "{}"},
    ),
    L(
        "CUB-200-2011",
        "EvelynChee/NUS-QE, data/cub200",
        ("CUB_200_2011/images/{001.Albatross,002.Auklet}",),
        {"train": (4, "001.Albatross,002.Auklet")},
        {
            "CUB_200_2011/attributes/attributes.txt": "x",
            "CUB_200_2011/parts/parts.txt": "x",
            "CUB_200_2011/{images,classes,train_test_split}.txt": "x",
            "CUB_200_2011/README": "x",
        },
    ),
    L(
        "CUB-200-2011, split",
        "goldentimecoolk/cub200_2011_train_val",
        ("{Train,Val}/{cls1,cls2,cls10}",),
        {"train": (6, "cls1,cls2,cls10"), "validation": (6, "cls1,cls2,cls10")},
    ),
    L(
        "GTSRB on Kaggle",
        "K1taru/Traffic-Sign-Classifier, dataset",
        ("Train/{0,1,10}", "Test/0000{0,1}.png", "Meta/{0,1,10}.png"),
        {"train": (6, "0,1,10"), "test": (2, "0,1,10")},
        {"Test.csv": "Width,ClassId,Path\n53,10,Test/00000.png\n42,1,Test/00001.png\n"},
        expected="right, and warned",
    ),
    L(
        "GTSRB as published",
        "biscofil/unive_ai_street_sign",
        ("GTSRB/Final_Training/Images/{00000,00001}", "GTSRB/Final_Test/Images/{0,1}.ppm"),
        {"train": (4, "00000,00001"), "test": (2, "")},
        {
            "GTSRB/Final_Training/Images/00000/GT-00000.csv": "x",
            "GTSRB/Final_Test/Images/GT-final_test.test.csv": "x",
        },
    ),
    L(
        "GTSRB for a loader on GitHub",
        "tomlawrenceuk/GTSRB-Dataloader",
        ("GTSRB/trainingset/{00000,00042}", "GTSRB/testset/0000{0,1}.ppm"),
        {"train": (4, "00000,00042"), "test": (2, "")},
        {"GTSRB/testset/test.csv": "x", "GTSRB/trainingset/training.csv": "x"},
    ),
    L(
        "Fruits-360",
        "antonnifo/fruits-360",
        ("fruits-360/{Training,Test}/{Apple Red,Kiwi}", "fruits-360/test-multiple_fruits"),
        {"train": (4, "Apple Red,Kiwi"), "test": (4, "Apple Red,Kiwi")},
        {"fruits-360/readme.md": "x"},
        expected="right, and warned",
    ),
    L(
        "Intel scenes",
        "ph-kenny-chan/ds-project",
        ("archive/seg_{train/seg_train,test/seg_test}/{sea,street}", "archive/seg_pred/seg_pred"),
        {"train": (4, "sea,street"), "test": (4, "sea,street")},
        expected="right, and warned",
    ),
    L(
        "Chest X-rays",
        "hongjiaherng/wqf7009-xai-pneumonia",
        ("data/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}",),
        {
            "train": (4, "NORMAL,PNEUMONIA"),
            "validation": (4, "NORMAL,PNEUMONIA"),
            "test": (4, "NORMAL,PNEUMONIA"),
        },
        {"data/chest_xray/.DS_Store": "x"},
    ),
    L(
        "Chest X-rays, twice",
        "AbdulAhadKhan/pneumonia-detection",
        ("raw/{chest-xray/,}{train,test}/{NORMAL,PNEUMONIA}",),
        {"train": (4, "NORMAL,PNEUMONIA"), "test": (4, "NORMAL,PNEUMONIA")},
        expected="right, and warned",
    ),
    L(
        "Brain tumour MRI",
        "Kaggle, masoudnickparvar",
        ("{Training,Testing}/{glioma,notumor}",),
        {"train": (4, "glioma,notumor"), "test": (4, "glioma,notumor")},
    ),
    L(
        "HAM10000",
        "alexmagsam/3Screen-CNN, sample_data",
        ("HAM10000_images_part_{1,2}",),
        {"train": (4, "")},
        {"HAM10000_metadata.csv": "lesion_id,image_id\n"},
    ),
    L(
        "NIH chest X-rays",
        "Kaggle, nih-chest-xrays/data",
        ("images_00{1,2}/images",),
        {"train": (4, "")},
        {"BBox_List_2017.csv": "x", "test_list.txt": "x"},
    ),
    L(
        "PlantVillage",
        "Kaggle, arjuntejaswi/plant-village",
        ("data/PlantVillage/{Apple___scab,Tomato___healthy}",),
        {"train": (4, "Apple___scab,Tomato___healthy")},
    ),
    L(
        "PlantVillage, three ways",
        "Kaggle, abdallahalidev/plantvillage-dataset",
        ("plantvillage dataset/{color,grayscale,segmented}/{Apple,Tomato}",),
        {"train": (4, "Apple,Tomato")},
        expected="warned",
    ),
    L(
        "PlantVillage, twice",
        "Kaggle, emmarex/plantdisease",
        ("PlantVillage/{Potato,Tomato}", "PlantVillage/PlantVillage/{Potato,Tomato}"),
        {"train": (4, "Potato,Tomato")},
        expected="warned",
    ),
    L(
        "Cats and dogs in sets",
        "Kaggle, tongpython/cat-and-dog",
        ("{training_set/training_set,test_set/test_set}/{cats,dogs}",),
        {"train": (4, "cats,dogs"), "test": (4, "cats,dogs")},
        {"training_set/training_set/cats/_DS_Store": "x"},
    ),
    L(
        "Dogs vs. Cats",
        "Kaggle, the competition",
        ("train/{cat,dog}.0.jpg", "test1/1.jpg"),
        {"train": (2, ""), "test": (1, "")},
        {"sampleSubmission.csv": "id,label\n1,0\n"},
    ),
    L(
        "Cats and Dogs of Microsoft",
        "Kaggle, PetImages",
        ("PetImages/{Cat,Dog}",),
        {"train": (4, "Cat,Dog")},
        {"PetImages/Cat/Thumbs.db": "x", "readme[1].txt": "x"},
    ),
    L(
        "Animals-10",
        "Kaggle, alessiocorrado99/animals10",
        ("raw-img/{cane,gatto}",),
        {"train": (4, "cane,gatto")},
        {"translate.py": "x"},
    ),
    L(
        "AFHQ",
        "KKhyeok/SuperstarGAN, AFHQ.md",
        ("data/afhq/{train,test}/{cat,dog,wild}",),
        {"train": (6, "cat,dog,wild"), "test": (6, "cat,dog,wild")},
    ),
    L(
        "CelebA on Kaggle",
        "Kaggle, jessicali9530/celeba-dataset",
        ("img_align_celeba/img_align_celeba/00000{1,2}.jpg",),
        {"train": (2, "")},
        {"list_{attr_celeba,eval_partition}.csv": "image_id,partition\n"},
        expected="right",
    ),
    L(
        "CelebA-HQ for mmagic",
        "open-mmlab/mmagic, celeba-hq",
        ("CelebA-HQ/{train,test}_256/{1,2}.png",),
        {"train": (2, ""), "test": (2, "")},
        {"CelebA-HQ/{train,val}_celeba_img_list.txt": "x"},
    ),
    L(
        "FFHQ thumbnails",
        "NVlabs/ffhq-dataset",
        ("thumbnails128x128/{00000,01000,69000}",),
        {"train": (6, "")},
        {"ffhq-dataset-v2.json": "{}", "thumbnails128x128/LICENSE.txt": "x"},
    ),
    L(
        "Anime faces",
        "Kaggle, splcher/animefacedataset",
        ("images/{1,2}_2000.jpg",),
        {"train": (2, "")},
    ),
    L(
        "ImageFolder of the Hub",
        "nateraw/test-imagefolder-metadata-csv",
        ("data/{Cat,Dog}",),
        {"train": (4, "Cat,Dog")},
        {"data/info.csv": "file_name\n", ".gitattributes": "x"},
    ),
    L(
        "ImageFolder with captions",
        "hf-internal-testing/imagefolder_with_metadata",
        ("{train,test}/{0,1}.jpg",),
        {"train": (2, ""), "test": (2, "")},
        {"{train,test}/metadata.jsonl": "{}\n", "README.md": "x"},
    ),
    L(
        "MVTec AD",
        "nguyendothanhtruc/DANFlow, MVTecAD",
        (
            "{bottle,cable}/train/good",
            "{bottle,cable}/test/{good,broken}",
            "{bottle,cable}/ground_truth/broken",
        ),
        {"train": (4, "bottle,cable"), "test": (8, "bottle,cable")},
        expected="right, and warned",
    ),
    L(
        "City-OSM",
        "LCB1970/MetaFD, data",
        ("CO-B/sample/{train,val}/{image,label}",),
        {"train": (2, ""), "validation": (2, "")},
        expected="right, and warned",
    ),
    L(
        "Pascal VOC 2012",
        "the devkit",
        ("VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,SegmentationObject}",),
        {"train": (2, "")},
        {"VOCdevkit/VOC2012/ImageSets/Main/train.txt": "0\n"},
        expected="right, and warned",
    ),
    L(
        "COCO",
        "the download page",
        ("train2017/{1,2}.jpg", "val2017/3.jpg"),
        {"train": (2, ""), "validation": (1, "")},
        {"annotations/instances_train2017.json": "{}"},
    ),
    L(
        "horse2zebra of CycleGAN",
        "junyanz/pytorch-CycleGAN-and-pix2pix",
        ("horse2zebra/{train,test}{A,B}",),
        {"train": (4, "A,B"), "test": (4, "A,B")},
    ),
    L(
        "COVID-19 radiography",
        "Kaggle, tawsifurrahman/covid19-radiography-database",
        ("COVID-19_Radiography_Dataset/{COVID,Normal}/{images,masks}",),
        {"train": (4, "COVID,Normal")},
        {"COVID-19_Radiography_Dataset/{COVID,Normal}.metadata.xlsx": "x"},
        expected="right, and warned",
    ),
    L(
        "LSUN",
        "forever208/ADM-ES, datasets/README.md",
        (),
        {},
        {"tower_train_lmdb/data.mdb": "x", "tower_train_lmdb/lock.mdb": "x"},
        expected="refused",
    ),
)

if __name__ == "__main__":
    main()
