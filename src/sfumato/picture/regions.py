"""Regions: which part of a picture is what, as soft labels with names.

Masks drawn by hand, label maps, segmentation networks and clustering all give this one type. Statistics take a weight
a position, so a region is a weight map, and soft edges cost nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.errors import InputError, unknown
from sfumato.picture.masks import feather


@dataclass(frozen=True, eq=False)
class Regions:
    """K regions of one picture."""

    names: tuple[str, ...]
    """One a region, all different."""
    weights: Tensor
    """K x H x W float32 in [0, 1] on the CPU; the weights of a position have a sum of 1."""

    def __post_init__(self) -> None:
        if self.weights.ndim != 3 or len(self.names) != len(self.weights):
            raise ValueError(f"{len(self.names)} names for weights of shape {tuple(self.weights.shape)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names occur twice: {self.names}")

    @classmethod
    def of_labels(cls, labels: Tensor, names: Sequence[str]) -> "Regions":
        """Hard regions of a label map H x W of whole numbers below len(names), only those that occur, in their order.

        Raises ValueError for a label beyond the names.
        """
        present = torch.unique(labels).tolist()
        if present and not 0 <= present[0] <= present[-1] < len(names):
            raise ValueError(f"labels from {present[0]} to {present[-1]} for {len(names)} names")
        return cls(tuple(names[k] for k in present), torch.stack([(labels == k).float() for k in present]))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.weights.shape[1], self.weights.shape[2]

    @property
    def shares(self) -> Tensor:
        """K shares of the picture's area, with a sum of 1."""
        return self.weights.mean((1, 2))

    @property
    def labels(self) -> Tensor:
        """H x W: the number of the strongest region."""
        return self.weights.argmax(0)

    def of(self, name: str) -> Tensor:
        """A region's weights, H x W. Raises `InputError` for a name that is not there."""
        if name not in self.names:
            raise unknown("region", name, self.names)
        return self.weights[self.names.index(name)]

    def resized(self, height: int, width: int) -> "Regions":
        """At another size: means over areas where it shrinks, straight lines between positions where it grows."""
        if self.size == (height, width):
            return self
        weights = self.weights[None]
        smaller = (min(height, self.size[0]), min(width, self.size[1]))
        weights = F.adaptive_avg_pool2d(weights, smaller)
        if smaller != (height, width):
            weights = F.interpolate(weights, (height, width), mode="bilinear", align_corners=False)
        return Regions(self.names, _normalised(weights[0]))

    def feathered(self, radius: float) -> "Regions":
        """With edges softened to both sides by `radius` pixels, as `masks.feather`."""
        if radius == 0:
            return self
        return Regions(self.names, _normalised(feather(self.weights[:, None], radius)[:, 0]))

    def joined(self, name_of: Callable[[str], str]) -> "Regions":
        """Regions that get the same name become one, in the order of first occurrence."""
        names = tuple(dict.fromkeys(map(name_of, self.names)))
        parts = [[k for k, old in enumerate(self.names) if name_of(old) == new] for new in names]
        return Regions(names, torch.stack([self.weights[part].sum(0) for part in parts]))

    def without_small(self, share: float) -> "Regions":
        """Regions of less than `share` of the area are given to the others, position by position.

        Where none of the others has any weight it goes to the nearest one that has. The largest always stays.
        """
        keep = self.shares >= min(share, float(self.shares.max()))
        if bool(keep.all()):
            return self
        kept = self.weights[keep]
        names = tuple(name for name, k in zip(self.names, keep.tolist(), strict=True) if k)
        return Regions(names, _normalised(_spread(kept)))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(0, keepdim=True).clamp_min(1e-12)


def _spread(weights: Tensor) -> Tensor:
    """Weights K x H x W; positions where all are near zero take those of the nearest position that has some."""
    empty = weights.sum(0) < 1e-3
    if not bool(empty.any()):
        return weights
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(empty.numpy(), return_distances=False, return_indices=True)
    return weights[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def of_masks(masks: Sequence[Tensor], names: Sequence[str], rest: str = "rest") -> Regions:
    """Regions of masks H x W in [0, 1]; what none of them takes is the region `rest`, where they overlap they share.

    Raises `InputError` for masks of different sizes.
    """
    if len({tuple(m.shape) for m in masks}) != 1:
        raise InputError("masks of one picture must all be of one size")
    weights = torch.stack([m.float() for m in masks])
    weights = weights / weights.sum(0).clamp_min(1)
    left = (1 - weights.sum(0)).clamp(0, 1)
    if float(left.max()) < 1e-6:
        return Regions(tuple(names), weights)
    return Regions((*names, rest), torch.cat([weights, left[None]]))
