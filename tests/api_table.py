"""Every public name with its signature: writes docs/api.md. Run it when names or signatures change."""

import importlib
import inspect
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
# Rooms of functrans's own: every name has a docstring with an example.
OWN = {
    "functrans": "transforms, and what goes with them",
    "functrans.tree": "nested containers of arrays",
    "functrans.random": "random numbers from keys",
    "functrans.nn": "networks",
    "functrans.nn.initializers": "first values of weights",
    "functrans.optimizers": "update rules, schedules, training loops",
    "functrans.sparse": "Jacobians and Hessians as sparse matrices",
    "functrans.monitoring": "statistics of layers while a network trains",
    "functrans.tensorboard": "event files",
    "functrans.viz": "pictures of programs",
    "functrans.graph": "graphs built symbol by symbol",
    "functrans.debug": "looking into programs that run",
    "functrans.testing": "checks of derivatives and of rules",
    "functrans.extend": "ops of one's own",
    "functrans.checkpoint_policies": "what `checkpoint` keeps",
    "functrans.experimental.jet": "Taylor series",
    "functrans.scipy.optimize": "SciPy's optimizers with exact derivatives",
}
# Names of JAX, NumPy or SciPy, with their signatures; what they compute is theirs.
KNOWN = {
    "functrans.lax": "loops, and operations without promotion, as `jax.lax`",
    "functrans.lax.linalg": "as `jax.lax.linalg`",
    "functrans.scipy.special": "as `scipy.special`",
    "functrans.scipy.stats": "as `scipy.stats`",
    "functrans.scipy.linalg": "as `scipy.linalg`",
    "functrans.scipy.fft": "as `scipy.fft`",
    "functrans.scipy.signal": "as `scipy.signal`",
    "functrans.scipy.ndimage": "as `scipy.ndimage`",
    "functrans.scipy.interpolate": "as `scipy.interpolate`",
    "functrans.scipy.integrate": "as `jax.experimental.ode`",
    "functrans.scipy.sparse.linalg": "as `scipy.sparse.linalg`",
}
HEAD = """# Every public name

<!-- written by tests/api_table.py: run it when names or signatures change -->

`help(functrans.grad)`, or the name with a question mark in a notebook, shows the whole docstring:
arguments with their shapes, results, exceptions, and an example that runs. Names of NumPy's are in
[numpy.md](numpy.md), exceptions in [errors.md](errors.md).

```python
>>> from functrans import nn
>>> print(nn.relu.__doc__.splitlines()[0])
max(x, 0), with derivative 0 at 0.

```
"""


def members(room: str):
    """(name, object) of a room's public functions and classes."""
    module = importlib.import_module(room)
    found = [(name, getattr(module, name)) for name in module.__all__]
    return [(name, x) for name, x in found if not inspect.ismodule(x)]


def signature(x) -> str:
    """As one writes a call: names and defaults, without types."""
    if inspect.isclass(x) and (issubclass(x, Exception) or x.__init__ is object.__init__):
        return ""
    try:
        found = inspect.signature(x)
    except (TypeError, ValueError):
        return "(...)" if callable(x) else ""
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return "(...)" if " at 0x" in text else text


def first_line(x) -> str:
    """Of a docstring, up to its first full stop; nothing for values."""
    text = (inspect.getdoc(x) or "") if callable(x) else ""
    if "(" in text and text.partition("(")[0] == getattr(x, "__name__", None) and "\n" in text:
        text = text.partition("\n")[2].strip()          # Cython's modules begin with the signature
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".:").replace("|", "\\|")


def page() -> str:
    parts = [HEAD]
    for rooms in (OWN, KNOWN):
        for room, about in rooms.items():
            rows = [f"| `{name}{signature(x)}` | {first_line(x)} |" for name, x in sorted(
                members(room), key=lambda pair: pair[0].lower())]
            head = [f"## {room}", "", f"{about[0].upper()}{about[1:]}.", ""]
            parts += [*head, "| name | |", "|---|---|", *rows, ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
