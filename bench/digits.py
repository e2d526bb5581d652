"""Generators of digits by our classifier's features: distance to test digits nobody trained on, and what fools it.

    python bench/digits.py --data t10k-images-idx3-ubyte.gz --train mnist_train_20k.npz --public G--300.ckpt \
        runs/gan runs/dcgan runs/wgan_gp runs/infogan

Rows: the training digits themselves (what a perfect generator scores), one test digit repeated, the public generator of
csinva/gan-vae-pretrained-pytorch (a perceptron from 64 normal numbers), then every model named. Equal numbers of
pictures everywhere; at 8 bits, as files hold them.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from sfumato.evaluate.sets import made_set, read_set
from sfumato.metrics.embedding import Embedded, embed, load_embedding
from sfumato.metrics.generated import central, compare, repeated, rounded

COLUMNS = ("FID-digits", "KID-digits", "precision", "recall", "density", "coverage", "IS-digits", "diversity")


def public(path: Path, count: int) -> Iterator[Tensor]:
    """Pictures N x 3 x 28 x 28 in [0, 1] of the public perceptron, from normal noise of seed 0."""
    network = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh()
    )
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    noise = torch.randn(count, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for part in torch.split(noise, 250):
            yield rounded((network(part).view(-1, 1, 28, 28).expand(-1, 3, -1, -1) + 1) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="runs, files or names of generators")
    parser.add_argument("--data", type=Path, required=True, help="digits to compare with")
    parser.add_argument("--train", type=Path, help="the digits trained on")
    parser.add_argument("--public", type=Path, help="the public generator's checkpoint")
    parser.add_argument("--features", default="digits")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--out", type=Path, help="a JSON file of all numbers")
    given = parser.parse_args()
    torch.set_num_threads(1)
    embedding = load_embedding(given.features)
    real_set = read_set(given.data, size=(28, 28), count=given.count)
    real = embed(embedding, real_set.batches())
    count = len(real.features)
    rows: dict[str, dict[str, float]] = {}
    print(f"{embedding.name}; {count} pictures a row\n{'':<24}" + "".join(f"{c:>11}" for c in COLUMNS))

    def tell(name: str, made: Embedded) -> None:
        rows[name] = compare(made, real, "digits")
        print(f"{name:<24}" + "".join(f"{rows[name][c]:>11.4g}" for c in COLUMNS), flush=True)

    if given.train is not None:
        tell("training digits", embed(embedding, read_set(given.train, size=(28, 28), count=count).batches()))
    tell("one digit, repeated", repeated(real, central(real)))
    if given.public is not None:
        tell("public generator", embed(embedding, public(given.public, count)))
    for model in given.models:
        made = made_set(
            model, count=count, seed=1, truncation=1.0, class_="", device=torch.device("cpu"), on_batch=None
        )
        tell(Path(model).name, embed(embedding, made.batches()))
    if given.out is not None:
        given.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
