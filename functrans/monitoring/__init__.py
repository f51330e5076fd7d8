"""Watching a network train: statistics of activations and gradients, layer by layer, at every step.

In: a function, with ``tag``s or ``name_scope``s inside. Out: the same values, and beside them the norms,
zeros, non-finite counts and histograms of what the tags marked and of the gradients that passed there. They
are results of the same program (``collect``), so no callback runs, and nothing else changes.
"""

from .. import _load as _load
from .problems import MonitorWarning
from .tags import tag
from .watching import Monitor, monitor

__all__ = ["Monitor", "MonitorWarning", "monitor", "tag"]
