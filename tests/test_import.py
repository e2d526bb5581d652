"""What answers at once imports no torch."""

import subprocess
import sys
import time

import pytest

NO_TORCH = """
import sys
{work}
heavy = sorted({{name.split(".")[0] for name in sys.modules}} & {{"torch", "scipy", "imagecodecs", "tifffile"}})
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "work",
    [
        "import sfumato; sfumato.__version__; sfumato.InputError",
        "import sfumato.cli",
        "from sfumato import StylizeOptions, iter_stylize, stylize; StylizeOptions.of(preset='fast')",
        "from sfumato.cli import main; assert main(['--version']) == 0",
        "from sfumato.cli import main; assert main(['--help']) == 0",
        "from sfumato.cli import main; assert main(['stylize', '--help']) == 0",
        "from sfumato.cli import main; assert main(['stylise', 'a.jpg']) == 2",
        "from sfumato.cli import main; assert main(['stylize', 'a.jpg', 'b.jpg', '--strength', 'much']) == 2",
    ],
)
def test_no_torch(work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH.format(work=work)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["stylize", "--help"]])
def test_help_and_version_answer_at_once(arguments: list[str]) -> None:
    """Under half a second where nothing else runs; twice that is allowed for a busy machine."""
    best = 60.0
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "sfumato.cli", *arguments], capture_output=True, text=True)
        best = min(best, time.perf_counter() - started)
        assert done.returncode == 0
        assert done.stdout.strip()
    assert best < 1.0


def test_every_public_name_is_there() -> None:
    import sfumato

    for name in sfumato.__all__:
        assert getattr(sfumato, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        sfumato.stylise  # noqa: B018


def test_the_verb_is_not_hidden_by_the_package_of_its_name() -> None:
    code = "import sfumato, sfumato.stylize.work, sfumato.stylize.options; assert callable(sfumato.stylize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
