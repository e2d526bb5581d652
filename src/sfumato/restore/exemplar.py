"""Deep holes filled with what the picture shows elsewhere: patches of its own, agreed upon from coarse to fine.

Wexler, Shechtman & Irani 2007, "Space-Time Completion of Video", section 3: every patch that touches the hole finds
its nearest whole patch of what is known, then every pixel of the hole becomes the weighted mean of what the patches
over it say; in turns, at every size. The smallest size begins from the hole's rim inwards (Newson et al. 2014, "Video
Inpainting of Complex Scenes", section 3.3). Large sizes search around what the smaller one found and what neighbours
found (Barnes et al. 2009, "PatchMatch", section 3.2, all pixels at once); the largest take it as it is.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato.picture.membrane import membrane
from sfumato.restore.holes import deepest, halved
from sfumato.style.neighbours import nearest

RADIUS = 3
"""Of a patch: 7 x 7 pixels."""
SIDE = 2 * RADIUS + 1
SHALLOW = 3
"""Pixels from rim to middle of a hole that is small enough to begin with."""
SMALLEST = 3 * SIDE
"""Short side below which nothing is halved any more."""
ROUNDS = 8
"""Turns at the smallest size; two fewer at each larger one."""
LEAST_ROUNDS = 2
PAIRS = 1 << 26
"""Patches of the hole times patches of the rest up to which all are compared."""
MANY = 300_000
"""Patches above which a size takes over what the smaller one found."""
DEEPER = 1.3
"""By what factor a patch counts less for every pixel that its middle lies deeper in the hole (Wexler et al.: gamma)."""
STEPS = tuple(step for n in range(1, 9) for step in ((n, 0), (-n, 0), (0, n), (0, -n)))
"""Where else a patch is taken from when it may not be taken from its place."""
NEARBY = 0.15
"""Weight of the distance between two patches' heights, in heights of the picture, beside the root mean square of their
colours': skies lie above meadows."""
CHUNK = 1 << 16
"""Patches that are compared at a time in the local search."""


class Level(NamedTuple):
    """One size of the picture."""

    known: Tensor
    """3 x H x W, anything within the hole."""
    hole: Tensor
    """H x W of bool."""
    targets: Tensor
    """T x 2: rows and columns of the middles of patches that touch the hole."""
    sources: Tensor
    """H x W of bool: middles of patches that do not."""
    trust: Tensor
    """T: how much a patch counts by its place."""


def exemplar(picture: Tensor, hole: Tensor, seed: int = 0) -> Tensor:
    """A picture 1 x 3 x H x W in [0, 1] with its hole (1 x 1 x H x W of 0 and 1) filled; outside as it was.

    Where hardly anything is known that could be copied the hole is filled smoothly.
    """
    sizes = [(picture, hole)]
    while deepest(sizes[-1][1]) > SHALLOW and min(sizes[-1][0].shape[2:]) >= 2 * SMALLEST:
        smaller = halved(*sizes[-1])
        if not usable(smaller[1]):
            break
        sizes.append(smaller)
    if not usable(sizes[-1][1]):
        return membrane(picture, hole, 40).clamp(0, 1)
    chance = torch.Generator().manual_seed(seed)
    levels = [prepared(*size) for size in reversed(sizes)]
    found, field = peeled(levels[0]), None
    for k, level in enumerate(levels):
        if field is not None:
            field, found = enlarged(field, levels[k - 1], level), level.known.clone()
            vote(level, found, field, torch.ones(len(field)))
            if len(field) > MANY:
                continue
        for _ in range(max(LEAST_ROUNDS, ROUNDS - 2 * k)):
            field, far = matched(level, found, field, chance)
            vote(level, found, field, far)
    return found[None]


def usable(hole: Tensor) -> bool:
    """Whether the hole 1 x 1 x H x W leaves enough whole patches to copy from."""
    return min(hole.shape[2:]) >= SIDE and int(_whole(hole[0, 0] > 0).sum()) >= 4 * SIDE


def _whole(hole: Tensor) -> Tensor:
    """H x W of bool: middles of patches that lie in the picture and touch no hole."""
    outside = F.pad(hole.float()[None, None], (RADIUS,) * 4, value=1)
    return F.max_pool2d(outside, SIDE, 1)[0, 0] == 0


def prepared(picture: Tensor, hole: Tensor) -> Level:
    """A size made ready."""
    from scipy.ndimage import distance_transform_edt

    inside = hole[0, 0] > 0
    touching = F.max_pool2d(inside.float()[None, None], SIDE, 1, RADIUS)[0, 0] > 0
    touching[:RADIUS], touching[-RADIUS:] = False, False
    touching[:, :RADIUS], touching[:, -RADIUS:] = False, False
    targets = torch.nonzero(touching)
    rows, columns = (slice(int(t[0]), int(t[-1]) + 1) for t in (targets[:, 0], targets[:, 1].sort().values))
    depth = torch.zeros(inside.shape)
    depth[rows, columns] = torch.from_numpy(distance_transform_edt(inside[rows, columns].numpy())).float()
    return Level(picture[0], inside, targets, _whole(inside), DEEPER ** -depth[touching])


def patches(picture: Tensor, middles: Tensor) -> Tensor:
    """Rows of SIDE * SIDE * 3 numbers around middles N x 2 of a picture 3 x H x W."""
    rows, columns = middles[:, 0, None], middles[:, 1, None]
    down, across = _around()
    return picture[:, rows + down, columns + across].permute(1, 0, 2).flatten(1)


def _around() -> tuple[Tensor, Tensor]:
    """Steps from a patch's middle to its pixels."""
    steps = torch.arange(-RADIUS, RADIUS + 1)
    return steps.repeat_interleave(SIDE), steps.repeat(SIDE)


def described(picture: Tensor, middles: Tensor) -> Tensor:
    """Rows whose squared distances, over the numbers in a patch, are those of patches and of their heights."""
    place = NEARBY * (3 * SIDE * SIDE) ** 0.5 / picture.shape[1] * middles[:, :1]
    return torch.cat([patches(picture, middles), place], 1)


def nearest_patches(rows: Tensor, there: Tensor) -> Tensor:
    """For each of `rows` P x C the number of the row of `there` S x C at the least distance."""
    ones, lengths = torch.ones(len(rows), 1), there.square().sum(1, keepdim=True)
    return nearest(torch.cat([rows, ones], 1), torch.cat([there, -lengths / 2], 1))


def peeled(level: Level) -> Tensor:
    """The hole filled from its rim inwards: each pixel from the patch that is most like what is known around it."""
    middles = torch.nonzero(level.sources)
    there = patches(level.known, middles)
    squares, found, left = there.square(), level.known.clone(), level.hole.clone()
    found[:, left] = 0
    height, width = left.shape
    while bool(left.any()):
        rim = left & (F.max_pool2d((~left).float()[None, None], 3, 1, 1)[0, 0] > 0)
        pixels = torch.nonzero(rim)
        limits = torch.tensor([height, width]) - 1 - RADIUS
        centres = torch.minimum(pixels, limits).clamp(min=RADIUS)
        seen = patches((~left).float().expand(3, -1, -1), centres)
        mine = patches(found, centres) * seen
        step = max(1, (1 << 24) // len(there))
        nearer = zip(torch.split(mine, step), torch.split(seen, step), strict=True)
        best = torch.cat([(w @ squares.T - 2 * m @ there.T).argmin(1) for m, w in nearer])
        taken = middles[best] + pixels - centres
        found[:, pixels[:, 0], pixels[:, 1]] = level.known[:, taken[:, 0], taken[:, 1]]
        left = left & ~rim
    return found


def matched(level: Level, found: Tensor, field: Tensor | None, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """For every target the middle of its nearest source, T x 2, and their distance, T."""
    middles = torch.nonzero(level.sources)
    if field is None or len(middles) * len(level.targets) <= PAIRS:
        there = described(level.known, middles)
        best = [nearest_patches(described(found, part), there) for part in torch.split(level.targets, CHUNK)]
        field = middles[torch.cat(best)]
        return field, distances(level, found, level.targets, field)
    return searched(level, found, field, chance)


def distances(level: Level, found: Tensor, targets: Tensor, field: Tensor) -> Tensor:
    """T: distances of targets T x 2 to sources T x 2, squared and over the numbers in a patch."""
    parts = zip(torch.split(targets, CHUNK), torch.split(field, CHUNK), strict=True)
    return torch.cat([(described(found, a) - described(level.known, b)).square().sum(1) for a, b in parts]) / (
        3 * SIDE * SIDE
    )


def searched(level: Level, found: Tensor, field: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """As `matched`, looking only at what was found, at what neighbours found, and at random nearer and nearer to it."""
    height, width = level.hole.shape
    limits = torch.tensor([height, width])
    number = torch.full((height, width), -1)
    number[level.targets[:, 0], level.targets[:, 1]] = torch.arange(len(level.targets))
    far = distances(level, found, level.targets, field)

    def tried(places: Tensor) -> None:
        nonlocal field, far
        inside = ((places >= 0) & (places < limits)).all(1)
        places = torch.where(inside[:, None], places, field)
        todo = torch.nonzero(level.sources[places[:, 0], places[:, 1]] & (places != field).any(1))[:, 0]
        now = distances(level, found, level.targets[todo], places[todo])
        better = now < far[todo]
        todo = todo[better]
        field, far = field.index_copy(0, todo, places[todo]), far.index_copy(0, todo, now[better])

    for reach in (8, 4, 2, 1):
        for step in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
            there = level.targets + torch.tensor(step)
            there = torch.where(((there >= 0) & (there < limits)).all(1)[:, None], there, level.targets)
            other = number[there[:, 0], there[:, 1]]
            own = torch.arange(len(field))
            other = torch.where(other < 0, own, other)
            tried(field[other] - (level.targets[other] - level.targets))
    jump = max(height, width) / 4
    while jump >= 1:
        away = (2 * torch.rand(len(field), 2, generator=chance) - 1) * jump
        tried(field + away.round().long())
        jump /= 4
    return field, far


def vote(level: Level, found: Tensor, field: Tensor, far: Tensor) -> None:
    """`found` 3 x H x W becomes within the hole what the patches say together; the rest is left alone."""
    spread = torch.quantile(far[:: max(1, len(far) // 100_000)], 0.75).clamp_min(1e-6)
    weights = level.trust * torch.exp(-far / (2 * spread))
    (top, left), (bottom, right) = level.targets.amin(0) - RADIUS, level.targets.amax(0) + RADIUS + 1
    box = (slice(int(top), int(bottom)), slice(int(left), int(right)))
    hole = level.hole[box]
    total, sums = torch.zeros(hole.shape), torch.zeros(3, *hole.shape)
    for down, across in zip(*_around(), strict=True):
        y, x = level.targets[:, 0] + down - top, level.targets[:, 1] + across - left
        total[y, x] += weights
        sums[:, y, x] += weights * level.known[:, field[:, 0] + down, field[:, 1] + across]
    said = hole & (total > 0)
    found[:, *box][:, said] = sums[:, said] / total[said]


def enlarged(field: Tensor, below: Level, level: Level) -> Tensor:
    """What targets at half the size found, for those of this size: twice as far away, odd pixels likewise."""
    from scipy.ndimage import distance_transform_edt

    number = torch.full(below.hole.shape, -1)
    number[below.targets[:, 0], below.targets[:, 1]] = torch.arange(len(field))
    where = torch.from_numpy(distance_transform_edt((number < 0).numpy(), return_distances=False, return_indices=True))
    half = level.targets // 2
    half = where[:, half[:, 0], half[:, 1]].T.long()
    taken = 2 * field[number[half[:, 0], half[:, 1]]] + level.targets - 2 * half
    limits = torch.tensor(level.hole.shape) - 1
    taken = torch.minimum(taken, limits).clamp(min=0)
    for step in STEPS:  # where half the size knew more than this one
        wrong = torch.nonzero(~level.sources[taken[:, 0], taken[:, 1]])[:, 0]
        if not len(wrong):
            return taken
        near = torch.minimum(taken[wrong] + torch.tensor(step), limits).clamp(min=0)
        good = level.sources[near[:, 0], near[:, 1]]
        taken[wrong[good]] = near[good]
    taken[~level.sources[taken[:, 0], taken[:, 1]]] = torch.nonzero(level.sources)[0]
    return taken
