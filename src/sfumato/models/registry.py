"""The families by name.

A family is a module with `Config` (a frozen dataclass) and `Method`; it imports torch, so it is imported when used.
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sfumato.errors import unknown

FAMILIES: dict[str, str] = {
    "onepass": "sfumato.models.onepass",
    "crossdomain": "sfumato.models.crossdomain",
    "distill": "sfumato.models.distill",
    "classifier": "sfumato.models.classifier",
    "gan": "sfumato.models.gan",
    "dcgan": "sfumato.models.dcgan",
    "wgan_gp": "sfumato.models.wgan_gp",
    "infogan": "sfumato.models.infogan",
    "pggan": "sfumato.models.pggan",
    "stylegan2": "sfumato.models.stylegan2",
    "biggan": "sfumato.models.biggan",
    "encoder": "sfumato.models.encoder",
    "unet": "sfumato.models.unet",
    "deeplab": "sfumato.models.deeplab",
    "cyclegan": "sfumato.models.cyclegan",
    "unit": "sfumato.models.unit",
    "cut": "sfumato.models.cut",
    "denoiser": "sfumato.models.denoiser",
    "blemishes": "sfumato.models.blemishes",
    "colorizer": "sfumato.models.colorizer",
    "inpainter": "sfumato.models.inpainter",
}
"""{name: module}."""
HARMLESS = ("dataclasses", "typing", "collections.abc", "math")
"""What the definition of a Config may import without bringing torch."""


class Summary(NamedTuple):
    """What help says of a family."""

    config: type
    """The family's Config, or its double."""
    docs: dict[str, str]
    """Field of the Config: its docstring."""
    roles: tuple[str, ...]
    """The kinds of data that it needs."""


def family(name: str) -> ModuleType:
    """The module of a family, with torch. Raises `InputError` for an unknown name."""
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    return import_module(FAMILIES[name])


def title(name: str) -> str:
    """First line of the family's module."""
    with _source(name).open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def summary(name: str) -> Summary:
    """A family's Config and roles from its source alone, without torch, so that help answers at once.

    Where the Config's defaults need more than the standard library, the module is imported after all.
    """
    source = _source(name)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config"]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module in HARMLESS]
    namespace: dict[str, object] = {"__name__": FAMILIES[name]}
    try:
        exec(compile(ast.Module([*imports, *wanted], []), str(source), "exec"), namespace)
        config = namespace["Config"]
    except NameError:
        config = import_module(FAMILIES[name]).Config
    assert isinstance(config, type)
    return Summary(config, _field_docs(wanted[0]), _roles(tree))


def offers(name: str, what: str) -> bool:
    """Whether a family's module defines the class `what`, read from its source without torch."""
    tree = ast.parse(_source(name).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.ClassDef) and node.name == what for node in tree.body)


def _source(name: str) -> Path:
    """The file of a family's module."""
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    spec = find_spec(FAMILIES[name])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _roles(tree: ast.Module) -> tuple[str, ...]:
    """`Method.roles`, a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "roles":
            assert node.value is not None
            return tuple(ast.literal_eval(node.value))
    raise ValueError("Method.roles is not written down as a tuple of names")


def _field_docs(node: ast.ClassDef) -> dict[str, str]:
    """The strings under the fields."""
    found = {}
    for line, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else None
            if isinstance(text, str):
                found[line.target.id] = " ".join(text.split())
    return found
