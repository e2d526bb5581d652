"""The bundled one-pass network on bundled pictures: numbers that random or wrong weights would not reach."""

import numpy as np
import torch

from sfumato.demo import bundled
from sfumato.features.sources import load_features
from sfumato.metrics.style_transfer import StyleJudge
from sfumato.picture.io import read_picture
from sfumato.picture.resize import fit_short_side, resize
from sfumato.stylize import stylize
from sfumato.stylize.painter import load_painter


def picture(kind: str, name: str) -> torch.Tensor:
    rgb = torch.from_numpy(np.ascontiguousarray(read_picture(bundled(kind, name)).rgb)).permute(2, 0, 1)[None]
    return resize(rgb, *fit_short_side(*rgb.shape[2:], 160))


def test_style_is_reached_content_kept_and_noise_is_brushwork() -> None:
    photo, painting = picture("photos", "cat"), picture("paintings", "village_street")
    judge = StyleJudge(load_features("vgg19"))
    content, style = judge.reference(photo), judge.reference(painting)
    made = [stylize(photo, painting, method="onepass", size="original", seed=seed).tensor for seed in (1, 2)]
    scores = [judge.score(m, content, style) for m in made]
    for score in scores:
        assert score.style < 0.35
        assert score.content < 0.5
    assert abs(scores[0].content / scores[1].content - 1) < 0.03
    assert (made[0] - made[1]).square().mean().sqrt() > 2 / 255
    own, other = (  # as it was trained
        stylize(photo, p, method="onepass", size="original", seed=1, noise=1.0).tensor
        for p in (painting, picture("paintings", "great_wave"))
    )
    assert judge.score(other, content, style).style > 2 * judge.score(own, content, style).style


def test_half_precision_reads_the_same_style() -> None:
    """As on a GPU with `--precision bf16-mixed`: paintings' codes lie 1.4 of their length apart."""
    encoder = load_painter("onepass", torch.device("cpu")).encoder
    paintings = torch.cat([resize(picture("paintings", name), 128, 128) for name in ("starry_night", "great_wave")])
    with torch.no_grad():
        exact = encoder(paintings).code
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(paintings).code.float()
    assert ((rough - exact).norm(dim=1) < 0.05 * exact.norm(dim=1)).all()
    assert (exact[0] - exact[1]).norm() > exact.norm(dim=1).mean()
