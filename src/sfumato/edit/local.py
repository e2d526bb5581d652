"""Changes that stay where they belong: layers, single style channels, regions.

StyleSpace: Wu, Lischinski & Shechtman 2021, "StyleSpace Analysis: Disentangled Controls for StyleGAN Image Generation",
sections 3 and 4. Layers of two pictures: style mixing of Karras et al. 2019, section 3.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import InputError, unknown
from sfumato.models.latent import Space, styled

PROBES = 8
"""Pictures on which a channel's effect is seen."""


@dataclass(frozen=True)
class Channel:
    """One style channel and what it does."""

    reader: str
    """Name of the linear map in the network."""
    number: int
    deviation: float
    """Of its value over drawn codes."""
    share: float = 0.0
    """Of the squared change that lies inside the region that was asked about."""
    strength: float = 0.0
    """Mean squared change for one deviation."""

    @property
    def name(self) -> str:
        return f"{self.reader}:{self.number}"


def layer_range(text: str, layers: int) -> range:
    """`8:12` (8 to 11), `8:`, `:12`, `8` of a model's layers. Raises `InputError`."""
    first, colon, last = text.partition(":")
    try:
        start = int(first) if first else 0
        stop = (int(last) if last else layers) if colon else start + 1
    except ValueError:
        raise InputError(f"layers are given as 8:12 (8 to 11) or 8, not {text!r}") from None
    if not 0 <= start < stop <= layers:
        raise InputError(f"the model has {layers} layers, 0:{layers}; {text!r} is none of them")
    return range(start, stop)


def mixed(first: Tensor, second: Tensor, layers: Sequence[int]) -> Tensor:
    """Codes N x layers x width of the first, those of `layers` from the second."""
    out = first.clone()
    out[:, list(layers)] = second[:, list(layers)]
    return out


def style_readers(space: Space) -> dict[str, int]:
    """{reader: channels} of a generator's styles. Raises `InputError` for one that has none."""
    found = {r.name: r.matrix(space.network).shape[0] for r in space.readers if r.styles}
    if not found:
        raise InputError(f"a {space.family} has no styles, so no style channels")
    return found


def channel_offsets(space: Space, changes: Mapping[str, float], deviations: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `styled` adds for changes of channels `READER:NUMBER`, in their deviations. Raises `InputError`."""
    widths, offsets = style_readers(space), dict[str, Tensor]()
    for name, value in changes.items():
        reader, _, number = name.rpartition(":")
        if reader not in widths:
            raise unknown("style", reader, widths)
        if not number.isdigit() or int(number) >= widths[reader]:
            raise InputError(f"{reader} has the channels 0 to {widths[reader] - 1}, not {number!r}")
        offset = offsets.setdefault(reader, torch.zeros(widths[reader]))
        offset[int(number)] += value * deviations[reader][int(number)]
    return offsets


@torch.no_grad()
def style_deviations(space: Space, codes: Tensor) -> dict[str, Tensor]:
    """{reader: deviation of every channel} over codes N x layers x width; a linear map needs no picture for that."""
    found = {}
    for r in space.readers:
        if r.styles:
            matrix = r.matrix(space.network).detach().float().cpu()
            found[r.name] = (codes[:, r.layer] @ matrix.T).std(0)
    return found


@torch.no_grad()
def channels_in(
    space: Space, codes: Tensor, mask: Tensor, *, count: int = 8, floor: float = 1e-5, probes: int = PROBES
) -> list[Channel]:
    """Channels whose change stays inside a region, the most local first: section 4.1, with a mask given.

    Args:
        space: the generator.
        codes: drawn ones, for deviations; the first `probes` are painted.
        mask: H x W in [0, 1] at the generator's size, or probes x H x W.
        count: how many channels.
        floor: least mean squared change of the picture that counts.
        probes: pictures that every channel is tried on.
    """
    deviations, found = style_deviations(space, codes), list[Channel]()
    tried = codes[:probes]
    before = space.show(tried)
    inside = mask.expand(len(tried), *mask.shape[-2:])[:, None]
    for reader, deviation in deviations.items():
        for number, unit in enumerate(deviation.tolist()):
            offset = torch.zeros(len(deviation))
            offset[number] = unit
            with styled(space, {reader: offset}):
                change = (space.show(tried) - before).square()
            strength = float(change.mean())
            if strength >= floor:
                share = float((change * inside).sum() / change.sum())
                found.append(Channel(reader, number, unit, share, strength))
    return sorted(found, key=lambda c: -c.share)[:count]
