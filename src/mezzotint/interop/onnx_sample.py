"""Sample from the exported model with numpy, onnxruntime and pillow: python sample.py --n 4."""

# mypy: ignore-errors
import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent


def sample(n, labels=None, guidance=None, seed=0, noise=None):
    """Return n images, uint8 (n, H, W, C), by DDIM along the levels of model.json."""
    model = json.loads((HERE / "model.json").read_text())
    net = onnxruntime.InferenceSession(str(HERE / "net.onnx"))
    scale, classes = guidance if guidance is not None else model["guidance"], model["classes"]
    x = (
        np.random.default_rng(seed).standard_normal((n, *model["shape"]))
        if noise is None
        else noise
    )
    x, null = x.astype(np.float32), np.full(n, len(classes), np.int64)
    if not classes and (labels is not None or scale != 1):
        raise ValueError("the model has no classes: leave out labels and guidance")
    if labels is not None and np.size(labels) not in (1, n):
        raise ValueError(f"there are {np.size(labels)} labels for {n} images: give 1 or {n}")
    labels = np.arange(n) % max(1, len(classes)) if labels is None else np.resize(labels, n)
    if classes and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels are {labels.tolist()}: choose 0 to {len(classes) - 1}")

    def predict(t, labels):
        inputs = {"x": x, "t": np.full(n, t, np.float32)}
        return net.run(None, inputs | ({"labels": labels.astype(np.int64)} if classes else {}))[0]

    levels = model["levels"]
    for now, after in pairwise(levels):
        output = predict(now["t"], labels)
        if classes and scale != 1:
            plain = predict(now["t"], null)
            output = plain + scale * (output - plain)
        output = output[:, : x.shape[1]]  # any further channels are a learned variance
        p, q, alpha, sigma = (now[name] for name in ("p", "q", "alpha", "sigma"))
        x0 = (q * x - sigma * output) / (q * alpha - p * sigma)
        x0 = np.clip(x0, -1, 1) if model["clip"] else x0
        x = (after["alpha"] * x0 + after["sigma"] * (x - alpha * x0) / sigma).astype(np.float32)
    if (HERE / "decoder.onnx").exists():
        x = onnxruntime.InferenceSession(str(HERE / "decoder.onnx")).run(None, {"z": x})[0]
    return ((x.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--labels", type=int, nargs="*")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    for i, image in enumerate(sample(**vars(parser.parse_args()))):
        Image.fromarray(image.squeeze()).save(f"sample-{i}.png")
