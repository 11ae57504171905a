"""A diffusers pipeline for an exported model; it does not need mezzotint.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("FOLDER", trust_remote_code=True)
images = pipe(4, class_labels=[3, 3, 5, 5], guidance_scale=2.0, num_inference_steps=20).images
```
"""

# mypy: ignore-errors
from __future__ import annotations

import math
from inspect import signature

import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor


class MezzotintPipeline(DiffusionPipeline):
    """Makes images from noise with a scheduler of diffusers; the export has a DDIMScheduler.

    Args:
        unet: The UNet2DModel. With K classes, row K of its label embedding is the null class.
        transformer: A DiTTransformer2DModel instead of the UNet2DModel, with the same null class.
        scheduler: A scheduler. Its prediction_type is the network's, or "sample" if ``prediction``
            is not empty.
        vae: The AutoencoderKL of a latent model.
        prediction: The prediction type of the network, "eps", "x0", "v", "flow" or "edm", if the
            pipeline converts the network's output to an estimate of x0; "" if the scheduler does.
        dynamic: The quantile for dynamic clipping of the estimate (arXiv 2205.11487); 0 leaves
            clipping to the scheduler.
        patch: The side of the squares of pixels that are folded into channels before the network
            and unfolded after it; 1 folds nothing.
        vae_patch: The side of the squares of pixels into which the channels are unfolded after the
            decoder; 1 unfolds nothing.
    """

    _optional_components = ("unet", "transformer", "vae")

    def __init__(
        self,
        scheduler,
        unet=None,
        transformer=None,
        vae=None,
        prediction="",
        dynamic=0,
        patch=1,
        vae_patch=1,
    ):
        super().__init__()
        self.register_modules(scheduler=scheduler, unet=unet, transformer=transformer, vae=vae)
        self.register_to_config(prediction=prediction, dynamic=dynamic)
        self.register_to_config(patch=patch, vae_patch=vae_patch)

    @torch.no_grad()
    def __call__(
        self,
        batch_size=1,
        class_labels=None,
        guidance_scale=1.0,
        num_inference_steps=50,
        generator=None,
        latents=None,
        output_type="pil",
        return_dict=True,
        **step,
    ):
        """Make images.

        Args:
            batch_size: The number of images.
            class_labels: A class for each image, or one for all; None is unconditional.
            guidance_scale: The guidance scale; 1 is no guidance, 0 is unconditional.
            num_inference_steps: The number of steps of the scheduler.
            generator: A generator of torch for the noise.
            latents: The noise that sampling starts from, (batch_size, C, H, W); None draws noise.
            output_type: "pil", "np", or "pt" for float (B, C, H, W) in [0, 1].
            return_dict: Whether to return an ImagePipelineOutput instead of a tuple.
            **step: Further arguments of the scheduler's `step`, such as ``eta``.
        """
        device, x = self._execution_device, latents
        if x is None:
            shape = (batch_size, *self.shape)
            x = randn_tensor(shape, generator, device, torch.float32)
        x = x.to(device)
        labels = self._labels(class_labels, len(x), device)
        if "use_clipped_model_output" in signature(self.scheduler.step).parameters:
            step = {"use_clipped_model_output": True, **step}  # mezzotint's step does so too
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        x = x * self.scheduler.init_noise_sigma
        for t in self.progress_bar(self.scheduler.timesteps):
            # Schedulers such as Euler's scale x differently from the network's input.
            output = self._output(self.scheduler.scale_model_input(x, t), t, labels, guidance_scale)
            x = self.scheduler.step(output, t, x, **step).prev_sample
        images = (self._decoded(x) / 2 + 0.5).clamp(0, 1).cpu()
        if output_type != "pt":
            images = images.permute(0, 2, 3, 1).numpy()
            images = self.numpy_to_pil(images) if output_type == "pil" else images
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    @property
    def shape(self):
        """The shape (C, H, W) of x."""
        patch, size = self.config.patch, self.net.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return self.net.config.in_channels // patch**2, height * patch, width * patch

    @property
    def net(self):
        """The network."""
        return self.transformer if self.unet is None else self.unet

    @property
    def classes(self):
        """K, the number of classes; the label K means the null class."""
        if self.unet is None:
            return self.transformer.config.num_embeds_ada_norm
        return max((self.unet.config.num_class_embeds or 0) - 1, 0)

    def _labels(self, labels, count, device):
        if labels is None:
            return None
        if not self.classes:
            raise ValueError("this model is unconditional: leave out `class_labels`")
        given = torch.as_tensor(labels, device=device).expand(count)
        if given.min() < 0 or given.max() >= self.classes:
            raise ValueError(f"`class_labels` is {labels}: choose 0 to {self.classes - 1}")
        return given

    def _output(self, x, t, labels, guidance):
        """Return the guided output, converted to the prediction type of the scheduler."""
        null = torch.full((len(x),), self.classes, device=x.device)
        if labels is None or guidance == 0:
            return self._expected(self._net(x, t, null), x, t)
        output = self._net(x, t, labels)
        if guidance != 1:
            plain = self._net(x, t, null)
            output = plain + guidance * (output - plain)
        return self._expected(output, x, t)

    def _net(self, x, t, labels):
        patch = self.config.patch
        folded = F.pixel_unshuffle(x, patch).to(self.net.dtype)
        if self.unet is not None and not self.classes:
            labels = None
        output = self.net(folded, t.expand(len(x)), class_labels=labels).sample.to(x.dtype)
        return F.pixel_shuffle(output, patch)[:, : x.shape[1]]

    def _expected(self, output, x, t):
        """Return the network's output, converted to an estimate of x0 if ``prediction`` is set."""
        if not self.config.prediction:
            return output
        alpha = self.scheduler.alphas_cumprod[int(t)].double() ** 0.5
        sigma = (1 - alpha**2) ** 0.5
        r = (sigma**2 + 0.25 * alpha**2) ** 0.5
        p, q = {
            "eps": (0, 1),
            "x0": (1, 0),
            "v": (-sigma, alpha),
            "flow": (-1, 1),
            "edm": (sigma / (0.5 * r), -alpha * 0.5 / r),
        }[self.config.prediction]
        x0 = ((q * x - sigma * output) / (q * alpha - p * sigma)).float()
        if self.config.dynamic:
            values = x0.abs().flatten(1)
            count = math.ceil(self.config.dynamic * values.shape[1])
            s = values.kthvalue(count, dim=1).values.clamp(min=1).view(-1, 1, 1, 1)
            x0 = x0.clamp(-s, s) / s
        return x0

    def _decoded(self, x):
        if self.vae is None:
            return x
        c = self.vae.config
        if getattr(c, "latents_mean", None) is not None:
            mean, std = (
                torch.tensor(v, device=x.device).view(1, -1, 1, 1)
                for v in (c.latents_mean, c.latents_std)
            )
            z = x * std / c.scaling_factor + mean
        else:
            z = x / c.scaling_factor + (c.shift_factor or 0)
        made = self.vae.decode(z.to(self.vae.dtype)).sample.to(x.dtype)
        return F.pixel_shuffle(made, self.config.vae_patch)
