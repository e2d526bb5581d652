"""Differentiable augmentation: what the discriminator sees, so that a small set of pictures cannot be learnt by heart.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020), appendix A, with the
figures of their code. Use it with the same policy wherever the discriminator looks: at real pictures, at made ones,
and at made ones in the generator's step, through which the gradient flows; otherwise the generator learns the
augmentations.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import unknown

CHANCES = 7
"""Uniform numbers that a picture's augmentation takes, whatever the policy."""
FILL = 0.5
"""What lies beyond a moved picture's border and in its hole: grey, their 0 of [-1, 1]."""


def color(pictures: Tensor, chance: Tensor, strength: float) -> Tensor:
    """Brightness, saturation and contrast of every picture; `chance` N x 3 in [0, 1).

    In [0, 1]: brightness is moved by up to 0.25 either way, the distance from grey multiplied by 0 to 2, the distance
    from the picture's mean by 0.5 to 1.5.
    """
    u = strength * (2 * chance.view(-1, 3, 1, 1, 1).to(pictures) - 1)
    x = pictures + 0.25 * u[:, 0]
    x = x + u[:, 1] * (x - x.mean(1, keepdim=True))
    return x + 0.5 * u[:, 2] * (x - x.mean((1, 2, 3), keepdim=True))


def translation(pictures: Tensor, chance: Tensor, strength: float) -> Tensor:
    """Whole pixels down and across, up to an eighth of the side either way; `chance` N x 2 in [0, 1)."""
    count, channels, height, width = pictures.shape
    rows, columns = int(height * strength / 8 + 0.5), int(width * strength / 8 + 0.5)
    most = torch.tensor([rows, columns], device=pictures.device)
    shift = (chance * (2 * most + 1)).long().clamp(max=2 * most)  # 0 .. 2 most: where in the padded picture to begin
    x = F.pad(pictures, (columns, columns, rows, rows), value=FILL)
    y_at = shift[:, 0, None] + torch.arange(height, device=pictures.device)
    x_at = shift[:, 1, None] + torch.arange(width, device=pictures.device)
    x = x.gather(2, y_at[:, None, :, None].expand(count, channels, height, x.shape[3]))
    return x.gather(3, x_at[:, None, None, :].expand(count, channels, height, width))


def cutout(pictures: Tensor, chance: Tensor, strength: float) -> Tensor:
    """A grey hole of half the height and width, its centre anywhere in the picture; `chance` N x 2 in [0, 1)."""
    inside = None
    for axis, size in enumerate(pictures.shape[2:]):
        hole = int(size * strength / 2 + 0.5)
        positions = size + 1 - hole % 2
        start = (chance[:, axis, None] * positions).long().clamp(max=positions - 1) - hole // 2
        at = torch.arange(size, device=pictures.device)
        within = (at >= start) & (at < start + hole)
        inside = within[:, :, None] if inside is None else inside & within[:, None, :]
    assert inside is not None
    return torch.where(inside[:, None], FILL, pictures)


POLICY: dict[str, tuple[Callable[[Tensor, Tensor, float], Tensor], slice]] = {
    "color": (color, slice(0, 3)),
    "translation": (translation, slice(3, 5)),
    "cutout": (cutout, slice(5, 7)),
}
"""Each augmentation and the columns of chance that it takes."""


def diff_augment(
    pictures: Tensor,
    chance: Tensor | torch.Generator,
    *,
    policy: Sequence[str] = ("color", "translation", "cutout"),
    strength: float = 1.0,
) -> Tensor:
    """Pictures augmented each in its own way, differentiable.

    Args:
        pictures: N x C x H x W in [0, 1]; results may leave the range a little.
        chance: N x `CHANCES` uniform numbers in [0, 1), e.g. `run.rand("augment", N, CHANCES)`, which belong to the
            samples however many processes share them; or a CPU generator that they are drawn from.
        policy: which of `POLICY`, in this order.
        strength: 1 is the paper's; 0 changes nothing, exactly.

    Raises:
        InputError: an unknown augmentation.
    """
    for name in policy:
        if name not in POLICY:
            raise unknown("augmentation", name, POLICY)
    if isinstance(chance, torch.Generator):
        chance = torch.rand(len(pictures), CHANCES, generator=chance)
    chance = chance.to(pictures.device)
    for name in policy:
        augment, columns = POLICY[name]
        pictures = augment(pictures, chance[:, columns], strength)
    return pictures
