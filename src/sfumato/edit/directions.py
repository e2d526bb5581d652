"""Ways through a generator's codes that change one thing: found without labels, or from them.

Without: SeFa (Shen & Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs", equations 4 to 6) and
GANSpace (Härkönen et al. 2020, section 3.1: principal components of drawn codes). With: InterFaceGAN (Shen et al.
2020, "Interpreting the Latent Space of GANs for Semantic Face Editing", sections 2 and 3.2, "conditional
manipulation"), the normal of what separates codes by a label, made orthogonal to others'.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.models.latent import Space
from sfumato.train.attributes import spans
from sfumato.weights.files import load_model, save_model

RIDGE = 0.01
"""Of the regressions, next to the codes' variance: with few codes their own noise must not be fitted."""
FAMILY = "directions"
"""Of their files."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A way: `codes + strength * vector`."""

    name: str
    vector: Tensor
    """layers x width; a strength of 1 is one deviation of drawn codes along it, or the whole way to a class."""
    kind: str
    """`sefa`, `pca`, `label`, `class`."""
    slope: Tensor | None = None
    """How the way depends on where it begins: layers x width x width, or 1 x width x width for all layers alike."""
    origin: Tensor | None = None
    """layers x width, where the way is `vector`; together with `slope`."""

    def at(self, codes: Tensor, strength: float = 1.0) -> Tensor:
        """What to add to codes N x layers x width. Less than nothing leads back along `vector` from everywhere: there
        is one place to become like, and many to become unlike."""
        if self.slope is None or self.origin is None or strength < 0:
            return strength * self.vector.expand_as(codes)
        turned = ((codes - self.origin).transpose(0, 1) @ self.slope).transpose(0, 1)
        return strength * (self.vector + turned)


def sefa(space: Space, count: int, deviation: Tensor, layers: Sequence[int] | None = None) -> list[Direction]:
    """The directions that the layers' matrices amplify most: eigenvectors of A^T A, equation 6.

    Args:
        space: the generator; matrices of the same layer, and of all layers where codes are tied, are stacked.
        count: how many, at most the codes' width.
        deviation: the codes', for the length.
        layers: which layers' matrices to read; all where left out. Only their codes are moved.
    """
    chosen = list(range(space.layers)) if layers is None else list(layers)
    used = [r for r in space.readers if r.layer in chosen]
    matrix = torch.cat([_normalised(r.matrix(space.network).detach().float().cpu()) for r in used])
    _, vectors = torch.linalg.eigh((matrix.T @ matrix).double())  # ascending
    found = []
    for k in range(min(count, space.width)):
        vector = torch.zeros(space.layers, space.width)
        vector[chosen] = _signed(vectors[:, -1 - k]).float() * deviation
        found.append(Direction(f"sefa{k + 1}", vector, "sefa"))
    return found


def principal(codes: Tensor, count: int) -> list[Direction]:
    """The axes along which drawn codes N x layers x width vary most, each as long as their deviation along it."""
    flat = codes.flatten(1).double()
    tied = bool((codes == codes[:, :1]).all())
    if tied:  # the same numbers in all layers
        flat = codes[:, 0].double()
    centred = flat - flat.mean(0)
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    scale = values / max(1, len(codes) - 1) ** 0.5
    found = []
    for k in range(min(count, len(scale))):
        vector = (_signed(axes[k]) * scale[k]).float()
        shaped = vector.expand(codes.shape[1], -1) if tied else vector.view(codes.shape[1:])
        found.append(Direction(f"pca{k + 1}", shaped.clone(), "pca"))
    return found


def from_scores(name: str, codes: Tensor, scores: Tensor) -> Direction:
    """The way along which a score grows most: ridge regression of N scores on codes N x layers x width.

    A linear score's gradient is the normal of InterFaceGAN's hyperplane; a regression on a classifier's logits finds
    it from fewer codes than a support vector machine on their signs. Raises `InputError` for a score that is constant.
    """
    scores = scores.double()
    if not float(scores.std()) > 1e-9:
        raise InputError(f"{name!r} is the same in all pictures of the model, so nothing leads there")
    tied = bool((codes == codes[:, :1]).all())
    flat = (codes[:, 0] if tied else codes.flatten(1)).double()
    centred = flat - flat.mean(0)
    gram = centred.T @ centred / len(flat)
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    normal = torch.linalg.solve(gram + ridge, centred.T @ (scores - scores.mean()) / len(flat))
    unit = normal / normal.norm().clamp_min(1e-12)
    vector = (unit * (centred @ unit).std()).float()
    return Direction(name, vector.expand(codes.shape[1], -1).clone() if tied else vector.view(codes.shape[1:]), "label")


def toward_class(space: Space, name: str, seeds: Sequence[int]) -> Direction:
    """Of a generator that knows classes: what to add to a code so that the same noise is in that class of its group.

    Where codes come of noise and class by a network there is no one such vector: the way differs from face to face. So
    it is a linear function of the code, ridge regression on pairs of codes of one seed, in its own class of the group
    and in the one asked for; a code that is in the class already hardly moves. `vector` is the way from the mean.
    """
    label = space.classes.index(name)
    group = next(span for span in spans(space.groups or (len(space.classes),)) if label in span)
    own = [(number, list(seeds)[k :: len(group)]) for k, number in enumerate(group) if k < len(seeds)]
    codes = torch.cat([space.draw(some, number) for number, some in own])
    ways = torch.cat([space.draw(some, label) for _, some in own]) - codes
    tied = bool((codes == codes[:, :1]).all())
    x, y = ((t[:, :1] if tied else t).transpose(0, 1).double() for t in (codes, ways))  # layers x N x width
    origin, vector = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x = x - origin
    gram = x.mT @ x / len(codes)
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12) * torch.eye(x.shape[2], dtype=x.dtype)
    slope = torch.linalg.solve(gram + ridge, x.mT @ (y - vector) / len(codes))
    origin, vector = (t[:, 0].float().expand(codes.shape[1:]).clone() for t in (origin, vector))
    return Direction(name, vector, "class", slope.float(), origin)


def from_labels(names: Sequence[str], codes: Tensor, labels: Tensor) -> list[Direction]:
    """Of labelled pictures' codes N x layers x width: from the mean of all others to that of a label, by its name.

    Where labels do not depend on one another the means differ in what the label says alone. `labels` holds N indices
    into `names`; a name that does not occur, or that all have, gives nothing.
    """
    found = []
    for k, name in enumerate(names):
        here = labels == k
        if bool(here.any()) and not bool(here.all()):
            found.append(Direction(name, codes[here].mean(0) - codes[~here].mean(0), "label"))
    return found


def orthogonal(direction: Direction, others: Sequence[Direction]) -> Direction:
    """The part of a direction that leaves the others' scores alone: its projection off their span, section 2.3.

    Of a way that depends on the code the mean one. Raises `InputError` where nothing of it is left.
    """
    if not others:
        return direction
    basis, _ = torch.linalg.qr(torch.stack([o.vector.flatten() for o in others], 1).double())
    flat = direction.vector.flatten().double()
    left = flat - basis @ (basis.T @ flat)
    if float(left.norm()) < 1e-4 * float(flat.norm()):
        raise InputError(f"nothing is left of {direction.name!r} beside {', '.join(o.name for o in others)}")
    return Direction(direction.name, left.view_as(direction.vector).float(), direction.kind)


def learnt(space: Space, scores: Callable[[Tensor], Mapping[str, Tensor]], codes: Tensor) -> list[Direction]:
    """A direction a score that a network gives to the pictures of `codes`.

    `scores` takes pictures N x 3 x H x W and gives N numbers a name. They are not made orthogonal here: one class less
    the others' mean is nearly a sum of the others, so that little would be left; see `orthogonal`.
    """
    parts = [scores(space.show(part)) for part in torch.split(codes, 32)]
    table = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
    return [from_scores(name, codes, values) for name, values in table.items()]


def write_directions(path: str | os.PathLike[str], directions: Sequence[Direction], model: str) -> None:
    """A file as those of models, whole or not at all; `model` is the sha256 of the generator's. Raises `InputError`."""
    holder = nn.Module()
    holder.register_buffer("vectors", torch.stack([d.vector for d in directions]))
    config = {"model": model, "names": [d.name for d in directions], "kinds": [d.kind for d in directions]}
    save_model(path, FAMILY, config, {FAMILY: holder}, {})


def read_directions(path: str | os.PathLike[str], space: Space, model: str) -> list[Direction]:
    """What `write_directions` wrote. Raises `InputError` for another file, or directions of another generator."""
    found = load_model(path, FAMILY)
    names, kinds = found.config["names"], found.config["kinds"]
    vectors = found.tensors[FAMILY]["vectors"]
    if found.config["model"] != model or tuple(vectors.shape[1:]) != (space.layers, space.width):
        raise InputError(f"{found.name}: directions of another generator")
    return [Direction(name, v, kind) for name, v, kind in zip(names, vectors, kinds, strict=True)]


def _normalised(matrix: Tensor) -> Tensor:
    """Rows of length 1, as the authors' code has them for StyleGAN2's styles."""
    length: Tensor = torch.linalg.vector_norm(matrix, dim=1, keepdim=True)
    return matrix / length.clamp_min(1e-12)


def _signed(vector: Tensor) -> Tensor:
    """With the largest number positive: an eigenvector has no sign of its own."""
    turned: Tensor = vector * vector[vector.abs().argmax()].sign()
    return turned
