"""Graphs: an open program that one builds by parts, extends by its own derivatives, and runs by parts.

In: equations that NumPy code on symbols records, between the placeholders of a ``Graph``. Out: the values
of any symbols, given those of others. What must hold: equations are only ever added, so what has been
planned stays valid; gradients are equations like all others; no value is ever written.
"""

from .functions import gradients
from .graph import Graph

__all__ = ["Graph", "gradients"]
