"""Random numbers from keys, with the names and signatures of ``jax.random``.

In: a key (``uint32[2]``, a plain array), shapes, parameters. Out: arrays. What must hold: a result is a
function of the key alone, under jit and vmap, on any number of threads; the same key gives the same numbers,
so split it for each use.
"""

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first
from . import distributions as _distributions
from . import draws as _draws
from . import keys as _keys
from .distributions import *
from .draws import *
from .keys import *

__all__ = [*_keys.__all__, *_draws.__all__, *_distributions.__all__]
