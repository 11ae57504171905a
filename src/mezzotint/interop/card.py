"""The model card of an exported model: a README.md in the format of the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Sequence

USE = {
    "diffusers": """```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{name}", trust_remote_code=True)
pipe(4, num_inference_steps=20).images[0].save("sample.png")
```""",
    "onnx": """```console
$ pip install numpy onnxruntime pillow
$ python sample.py
```""",
    "safetensors": """```python
import mezzotint as mz

images = mz.load("{name}").sample(16)
```""",
}


def card(
    format: str,
    name: str,
    classes: Sequence[str],
    shape: tuple[int, int, int],
    license: str,
) -> str:
    """Return a model card: front matter, a description, an example of use, and the classes.

    Args:
        format: A key of USE.
        name: The folder's name.
        classes: The names of the classes.
        shape: The shape of x.
        license: The license's name on the Hub; "" leaves the field out.
    """
    library = {"diffusers": "diffusers", "onnx": "onnx", "safetensors": "mezzotint"}[format]
    fields = [
        *([f"license: {license}"] if license else []),
        f"library_name: {library}",
        "pipeline_tag: unconditional-image-generation",
        "tags: [diffusion, mezzotint]",
    ]
    channels, height, width = shape
    unknown = (
        ""
        if license
        else "The license of the weights is not stated: ask the person who trained the model."
    )
    use = USE[format].format(name=name)
    listed = "\n".join(f"| {i} | {json.dumps(c)[1:-1]} |" for i, c in enumerate(classes))
    table = f"\n## Classes\n\n| number | name |\n|---|---|\n{listed}\n" if classes else ""
    return (
        "---\n" + "\n".join(fields) + "\n---\n\n"
        f"# {name}\n\nA diffusion model, exported by mezzotint. The input x of its network has "
        f"{channels}x{height}x{width} values (channels, height, width). {unknown}\n\n## Use\n\n"
        f"{use}\n"
        f"{table}"
    )
