"""The bundled digit classifier at work, on digits drawn here."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from sfumato.features.classifier import load_classifier
from sfumato.metrics.embedding import load_embedding


def typed(digit: int) -> torch.Tensor:
    """A printed digit as MNIST has its own: 28 px, bright on dark, in the middle."""
    image = Image.new("L", (56, 56))
    ImageDraw.Draw(image).text((28, 28), str(digit), fill=255, font=ImageFont.load_default(42), anchor="mm")
    return (
        torch.from_numpy(np.array(image.resize((28, 28), Image.Resampling.BICUBIC))).float()[None].expand(3, -1, -1)
        / 255
    )


def test_it_reads_printed_digits() -> None:
    """It was trained on handwriting: most of the printed ones are right, and an unreadable net would get one in ten."""
    digits = torch.stack([typed(k) for k in range(10)])
    trained = load_classifier("digits")
    assert trained.classes == tuple(map(str, range(10)))
    chances = trained.chances(digits)
    assert (chances.argmax(1) == torch.arange(10)).sum() >= 8
    double = trained.chances(torch.nn.functional.interpolate(digits, 56, mode="bilinear"))
    assert (double.argmax(1) == chances.argmax(1)).sum() >= 9  # other sizes are brought to its own


def test_it_is_a_feature_network_by_name() -> None:
    embedding = load_embedding("digits")
    found = embedding(torch.rand(2, 3, 28, 28))
    assert (embedding.title, embedding.name) == ("digits", "classifier digits, last layer but one")
    assert found.features.shape == (2, 128)
    assert found.chances is not None
    assert found.chances.shape == (2, 10)
