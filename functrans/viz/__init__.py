"""The viz room: pictures of programs and of their derivatives.

In: a function and its arguments, or a jaxpr. Out: a ``Drawing``: SVG, HTML, PNG, DOT. ``origins`` finds what
each equation was made of, ``build`` makes tables of it whose rows are the user's equations, ``layout`` asks a
library for the places within ranks, ``place`` turns them into pixels, ``svg``, ``page`` and ``dot`` write.
What must hold: a node is in the row of its origin, in every lane and on every level.
"""

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first
from .drawing import Drawing, draw

__all__ = ["Drawing", "draw"]
