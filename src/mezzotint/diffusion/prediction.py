"""The prediction types of networks, and the denoiser of a network.

A prediction type is two numbers (p, q) at a level: the network is trained to output
``o = p * x0 + q * eps``. With ``x = alpha * x0 + sigma * eps``, the estimates are

    x0_hat = (q * x - sigma * o) / d          eps_hat = (alpha * o - p * x) / d

where ``d = q * alpha - p * sigma``. So an error of o causes an error of x0_hat that is
``-sigma / d`` times as large.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level, Number
from mezzotint.errors import Registry, UserError, counted

Net: TypeAlias = Callable[[Tensor, Tensor, Any], Tensor]
"""``net(x, t, condition) -> output`` with x (B, C, H, W) and t (B,). The condition is a tensor of B
rows (such as labels, int64), a dict of such tensors, or None."""

Denoiser: TypeAlias = Callable[[Tensor, Level], Tensor]
"""``denoise(x, level) -> x0_hat`` in the shape of x. A sampler sees a network only in this form."""

Prediction: TypeAlias = Callable[[Level[Any]], tuple[Any, Any]]
"""``prediction(level) -> (p, q)``: floats or tensors, like alpha and sigma of the level."""

SIGMA_DATA = 0.5  # the standard deviation of the data that EDM assumes


def edm(level: Level[Any]) -> tuple[Any, Any]:
    """Return (p, q) for the network F of Karras et al. 2022, arXiv 2206.00364, table 1.

    With ``sigma_hat = sigma / alpha`` and ``x_hat = x / alpha``, F is trained to be ``(x0 - c_skip
    x_hat) / c_out``. So here ``p = sigma / (sigma_data r)`` and ``q = -alpha sigma_data / r``, with
    ``r = sqrt(sigma^2 + alpha^2 sigma_data^2)``. The plain mean squared error of F is EDM's loss,
    whose weight is ``1 / c_out^2``. EDM's c_in is not needed, because x in a variance-preserving
    model already has a standard deviation between sigma_data and 1.
    """
    r = (level.sigma**2 + level.alpha**2 * SIGMA_DATA**2) ** 0.5
    return level.sigma / (SIGMA_DATA * r), -level.alpha * SIGMA_DATA / r


PREDICTIONS: Registry[Prediction] = Registry(
    "prediction",
    {
        "eps": lambda level: (0.0, 1.0),
        "x0": lambda level: (1.0, 0.0),
        "v": lambda level: (-level.sigma, level.alpha),  # Salimans and Ho 2022, arXiv 2202.00512
        "flow": lambda level: (-1.0, 1.0),  # Lipman et al. 2023, arXiv 2210.02747
        "edm": edm,
    },
)


def coefficients(prediction: str, level: Level[Number]) -> tuple[Number | float, Number | float]:
    """Return (p, q) of a prediction type at a level.

    Networks of this type output ``p * x0 + q * eps``. Raises UserError for an unknown type.
    """
    return PREDICTIONS[prediction](level)


def determinant(prediction: str, level: Level[Number]) -> Number | float:
    """Return ``d = q * alpha - p * sigma``, by which `to_x0` and `to_eps` divide.

    (p, q) are the `coefficients` of the prediction type. Among the built-in types, d is 0 only for
    eps at alpha 0.
    """
    p, q = coefficients(prediction, level)
    return q * level.alpha - p * level.sigma


def target(prediction: str, x0: Tensor, eps: Tensor, level: Level[Number]) -> Tensor:
    """Return the target of the network's output, ``p * x0 + q * eps``; see `coefficients`."""
    p, q = coefficients(prediction, level)
    return p * x0 + q * eps


def to_x0(prediction: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """Convert a network's output to x0_hat, ``(q * x - sigma * output) / d``.

    The network is trained to output ``p * x0 + q * eps``, and ``d = q * alpha - p * sigma``. The
    conversion is made in float32 at least, because 1/alpha can exceed 10^4 at the noisy end.

    Args:
        prediction: What the output predicts: a name in PREDICTIONS.
        output: The network's output, in the shape of x.
        x: The noisy images that the network was given, (B, ...).
        level: The level of x: floats, or tensors that broadcast against x.

    Returns:
        The estimate of the clean image, in the shape of x.

    Raises:
        UserError: If the prediction is unknown, or output and x differ in shape.
    """
    _, q = coefficients(prediction, level)
    _same_shape(output, x)
    return (q * _wide(x) - level.sigma * _wide(output)) / determinant(prediction, level)


def to_eps(prediction: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """Convert a network's output to eps_hat, ``(alpha * output - p * x) / d``.

    The network is trained to output ``p * x0 + q * eps``, and ``d = q * alpha - p * sigma``. The
    conversion is made in float32 at least, because 1/alpha can exceed 10^4 at the noisy end.

    Args:
        prediction: What the output predicts: a name in PREDICTIONS.
        output: The network's output, in the shape of x.
        x: The noisy images that the network was given, (B, ...).
        level: The level of x: floats, or tensors that broadcast against x.

    Returns:
        The estimate of the noise, in the shape of x.

    Raises:
        UserError: If the prediction is unknown, or output and x differ in shape.
    """
    p, _ = coefficients(prediction, level)
    _same_shape(output, x)
    return (level.alpha * _wide(output) - p * _wide(x)) / determinant(prediction, level)


def _same_shape(output: Tensor, x: Tensor) -> None:
    """Raise UserError if the output of a network does not have the shape of x."""
    if output.shape != x.shape:  # broadcasting would hide the mistake
        raise UserError(
            f"the network's output has the shape {tuple(output.shape)}, expected "
            f"{tuple(x.shape)}: return a tensor in the shape of x"
        )


def _wide(x: Tensor) -> Tensor:
    """Convert x to float32, unless it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def denoiser(
    net: Net, prediction: str, labels: Tensor | Mapping[str, Tensor] | None = None
) -> Denoiser:
    """Make the denoiser of a network: ``denoise(x, level) -> x0_hat``.

    The denoiser calls ``net(x, t, labels)``, where t (B,) float32 holds the level's t for every
    image, and converts the output with `to_x0`. It does not turn gradients on or off, and leaves
    the network in its mode (train or eval).

    Args:
        net: Any callable ``net(x, t, labels) -> output``: x (B, C, H, W), t (B,), output in the
            shape of x.
        prediction: The prediction type of the network, a name in PREDICTIONS.
        labels: The third argument of the network: None, (B,) integers for batches of B images,
            another condition (B, ...), or a dict of such conditions.

    Returns:
        The denoiser. It raises UserError if the network does not return a tensor in the shape of x;
        if the number of labels is not the number of images; or if the network predicts eps and the
        level is pure noise.

    Raises:
        UserError: If the prediction is unknown, or the network does not take three arguments.

    Example:
        ``denoise = mz.denoiser(net, "v")``
    """
    PREDICTIONS.check(prediction)
    _takes_three(net)

    def denoise(x: Tensor, level: Level) -> Tensor:
        if labels is not None and (count := _rows(labels)) != len(x):
            raise UserError(
                f"there are {count} `labels` for {counted(len(x), 'image')}: give one label "
                "for each image"
            )
        if not determinant(prediction, level):
            raise UserError(
                f"a network that predicts {prediction} cannot estimate the image at t = "
                f"{level.t:g}, where x is pure noise: choose a `spacing` without this level, such "
                "as karras"
            )
        t = torch.full((len(x),), level.t, device=x.device, dtype=torch.float32)
        output = net(x, t, labels)
        if not isinstance(output, Tensor):
            raise UserError(
                f"the network returned a {type(output).__name__}, expected a tensor of x's shape: "
                "wrap it in a function that returns the tensor"
            )
        return to_x0(prediction, output, x, level)

    return denoise


def _rows(condition: Tensor | Mapping[str, Tensor]) -> int:
    """Return the batch size of a condition; all conditions in a dict have the same batch size."""
    return len(next(iter(condition.values())) if isinstance(condition, Mapping) else condition)


def _takes_three(net: Net) -> None:
    """Raise UserError for a network that cannot be called as ``net(x, t, labels)``."""
    if not callable(net):
        raise UserError(f"`net` is a {type(net).__name__}: give a callable net(x, t, labels)")
    try:
        signature = inspect.signature(getattr(net, "forward", net))
    except ValueError:  # builtin functions have no signature
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise UserError(
            f"`net` cannot be called as net(x, t, labels) ({error}): give it three positional "
            "arguments; an unconditional network ignores the third"
        ) from None


def split_variance(net: Net) -> tuple[Net, Callable[[Tensor, Level], Tensor]]:
    """Split a network with 2C output channels into its prediction and its learned variance.

    Returns two functions. The first is a network that returns only the first C channels, the
    prediction. The second, ``fraction(x, level) -> v``, returns the v that the most recent call of
    the network predicted, in the shape of x. For a step from level t to level s, DDPM's learned
    variance is ``sigma_s^2 tau`` for v = 0 and ``sigma_t^2 tau`` for v = 1, with geometric
    interpolation between them. Here ``tau = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2`` (Nichol
    and Dhariwal 2021, arXiv 2102.09672, eq. 15). The last C channels are ``2 v - 1``; as in that
    paper, they are not clamped to [-1, 1]. Guidance doubles the batch, with the conditional half
    first; v then comes from the conditional half.
    """
    raw = torch.empty(0)

    def predict(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        nonlocal raw
        output, raw = net(x, t, condition).chunk(2, dim=1)
        return output

    def fraction(x: Tensor, level: Level) -> Tensor:
        return to_fraction(raw[: len(x)])

    return predict, fraction


def to_fraction(raw: Tensor) -> Tensor:
    """Convert a network's variance output to ``v = (raw + 1) / 2``, in float32 or wider.

    v = 0 means the smallest variance and v = 1 the largest; see `split_variance`. An untrained
    network returns 0, so v is 1/2, which means the geometric mean of these two variances.
    """
    return (_wide(raw) + 1) / 2
