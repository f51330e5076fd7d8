"""``draw``: what users call, and what it returns."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from html import escape
from typing import Any

from .. import errors
from ..calling.staging import api, describe, name_of
from ..graph import Graph
from ..inspection.profiling import Profile
from ..ir.core import Jaxpr
from . import dot, heat, layout, page, svg
from .build import build
from .model import Picture
from .names import Results, headings
from .origins import Origins

INLINE = 3000           # nodes of a picture whose page goes into a notebook: 1 kB each. Larger ones are SVG.


class Drawing:
    """A picture of a program, as ``draw`` returns it. Notebooks show it; ``save`` writes it to a file.

    Attributes:
      notes: what the picture says below itself, e.g. that groups are closed since there are many nodes.

    >>> import numpy as np
    >>> from functrans import grad, viz
    >>> "cos" in viz.draw(grad(np.sin))(1.0).svg()
    True
    """

    def __init__(self, picture: Picture, engine: str | None):
        self._picture = picture
        self.notes = picture.notes
        layout.arrange(picture, engine)

    def svg(self) -> str:
        """The picture as SVG."""
        return svg.render(self._picture)

    def html(self) -> str:
        """The picture as a page that needs nothing else.

        Groups open and close on a click; the wheel zooms, dragging moves; what is searched for is shown on
        Enter, also inside closed groups; hovering tells types, parameters and the user's line.
        """
        return page.render(self._picture)

    def dot(self) -> str:
        """The program for Graphviz: scopes and loops are clusters, rows have equal ranks."""
        return dot.render(self._picture)

    @api
    def png(self, scale: float = 2.0) -> bytes:
        """The picture as PNG, by resvg.

        Args:
          scale: pixels for one of the SVG's.

        Raises:
          functrans.errors.DrawingError: the package resvg-py is missing (extra ``viz``).
        """
        try:
            import resvg_py
        except ImportError:
            raise errors.DrawingError("viz: PNG needs the package resvg-py.",
                                      "Run: pip install 'functrans[viz]'   (or save as .svg or .html)"
                                      ) from None
        return bytes(resvg_py.svg_to_bytes(svg_string=self.svg(), zoom=scale, font_dirs=_font_dirs()))

    @api
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture to a file: SVG, HTML, PNG or DOT, by the end of its name.

        Raises:
          functrans.errors.DrawingError: another ending; for PNG, a missing package.
          OSError: the file cannot be written.
        """
        name = os.fspath(path)
        kind = os.path.splitext(name)[1].lower()
        write: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.svg, ".html": self.html, ".png": self.png, ".dot": self.dot}
        if kind not in write:
            raise errors.DrawingError(f"viz: the file {name!r} ends in {kind or 'nothing'!r}.",
                                      f"Give a name that ends in {', '.join(write)}.")
        content = write[kind]()
        with open(name, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        if len(self._picture.nodes) > INLINE:
            return self.svg()
        # A frame of its own: neither its styles nor its names meet those of the notebook.
        high = min(max(int(page.height(self._picture)) + 60, 220), 720)
        return (f'<iframe srcdoc="{escape(self.html())}" width="100%" height="{high}" '
                f'style="border:1px solid #d5dce3;border-radius:8px" title="{escape(self._picture.title)}">'
                "</iframe>")

    def __repr__(self) -> str:
        nodes = len(self._picture.nodes)
        return f"<drawing of {self._picture.title}: {nodes} nodes; .save('name.svg'), .html, .png, .dot>"


def _font_dirs() -> list[str] | None:
    """Fonts for a system without any: those that come with matplotlib, if it is there."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    folder = os.path.join(os.path.dirname(spec.origin), "mpl-data", "fonts", "ttf")
    return [folder] if os.path.isdir(folder) else None


class _Undrawn:
    """What ``draw(f)`` returns: call it with the arguments of f."""

    def __init__(self, fun: Callable, draw_it: Callable[..., Drawing]):
        self._draw = draw_it
        self.__name__ = f"draw({name_of(fun)})"

    @api
    def __call__(self, *args, **kwargs) -> Drawing:
        return self._draw(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(Drawing, name):
            raise errors.ArgumentError(f"viz.{self.__name__}.{name}: nothing is drawn yet.",
                                       f"Pass the function's arguments: viz.draw(f)(*args).{name}(...)")
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<{self.__name__}: call it with the function's arguments>"


@api
def draw(target: Any, *, profile: Profile | None = None, color: str | None = None,
         closed: bool | None = None, engine: str | None = None) -> Any:
    """Draws the program of a function, with its derivatives beside it.

    The user's own computation is on the left, from top to bottom. To its right is what each derivative made
    of it (``grad``, ``jacobian``, ``jvp``, a training step that calls them ...), every node in the row of the
    equation that it belongs to; dashed lines are values that the derivative needs of what came before. Scopes
    (``name_scope``), loops and branches are boxes that open and close.

    Args:
      target: a function of any kind, also a transformed one; or a jaxpr or ``Graph``.
      profile: of the same function and arguments (``functrans.profile``): nodes are coloured by what they
        take.
      color: by ``"time"`` (the default with a profile) or ``"bytes"``.
      closed: whether scopes and loops are closed at first. By default they are open, but in a picture of
        more than 160 nodes.
      engine: the layout library, ``"dot"`` (Graphviz) or ``"grandalf"``; by default the first that is there.

    Returns:
      for a function, a function of the same arguments (arrays or ``ShapeDtypeStruct``s) that returns a
      ``Drawing``; for a program, the ``Drawing``. It has ``save(path)`` (.svg, .html, .png, .dot).

    Raises:
      functrans.errors.ArgumentError: a target that is neither, or an unknown option.
      functrans.errors.DrawingError: nothing to draw, a profile of something else, or a missing library.

    A jaxpr alone does not say what its equations were made from: what is marked as backward is put beside the
    last equation of the same line and scope.

    >>> import numpy as np
    >>> from functrans import grad, viz
    >>> picture = viz.draw(grad(lambda x: np.sum(np.sin(x) ** 2)))(np.ones(3))
    >>> picture.svg()[:4], 'grad x' in picture.svg()
    ('<svg', True)
    """
    for name, value, known in (("engine", engine, (None, "dot", "grandalf")),
                               ("closed", closed, (None, True, False)),
                               ("color", color, (None, "time", "bytes"))):
        if not any(value is k or (isinstance(k, str) and value == k) for k in known):
            raise errors.ArgumentError(f"viz.draw: {name}={value!r}.",
                                       f"Give one of {', '.join(map(repr, known))}.")
    if profile is not None and not isinstance(profile, Profile):
        raise errors.ArgumentError(f"viz.draw: profile is {describe(profile)}.",
                                   "Give what functrans.profile(f, *args) returns.")
    if color is not None and profile is None:
        raise errors.ArgumentError(f"viz.draw: color={color!r} without a profile.",
                                   "Pass profile=functrans.profile(f, *args).")

    def finish(origins: Origins, title: str, results: Any, of: Callable[[int], Any]) -> Drawing:
        picture = build(origins, title, results, of, closed)
        if not picture.nodes:
            raise errors.DrawingError(f"viz.draw: {title} has no equations, inputs or outputs.",
                                      "Draw a function of arrays that returns some.")
        if profile is not None:
            heat.colour(picture, origins, profile, color or "time")
        return Drawing(picture, engine)

    if isinstance(target, Jaxpr):
        origins = Origins.guessed(target)
        return finish(origins, "jaxpr", Results.of_jaxpr(target), headings(None))
    if isinstance(target, Graph):
        origins = Origins.of_graph(target)
        results, inputs = Results.of_graph(target, origins.jaxpr)
        origins.name_inputs(inputs)
        return finish(origins, "graph", results, headings(None))
    if not callable(target):
        raise errors.ArgumentError(f"viz.draw takes a function, a jaxpr or a Graph, got {describe(target)}.",
                                   "Write viz.draw(f)(x), not viz.draw(f(x)).")

    def of_call(args: tuple, kwargs: dict) -> Drawing:
        origins = Origins.of(target, args, kwargs, "viz.draw")
        results = Results(target, args, kwargs, origins.jaxpr.names or (), origins.out_tree)
        return finish(origins, name_of(target), results, headings(target))

    return _Undrawn(target, of_call)
