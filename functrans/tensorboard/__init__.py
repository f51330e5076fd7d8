"""TensorBoard's event files, written without TensorFlow: scalars, histograms, and graphs of programs.

In: numbers, arrays, pytrees of them, functions to draw. Out: a file that ``tensorboard --logdir`` reads.
Nothing but NumPy is needed to write: the format is a few kinds of protocol buffer fields (``wire``) in
records with a checksum (``records``).
"""

from .. import _load as _load
from .writer import SummaryWriter

__all__ = ["SummaryWriter"]
