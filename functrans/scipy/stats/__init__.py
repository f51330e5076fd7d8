"""Distributions of ``scipy.stats`` on arrays and traced arrays, and what ``jax.scipy.stats`` has besides.

In: arrays, numbers, tracers; the parameters of SciPy. Out: the same as SciPy, which is not called: one code
serves both. What must hold: outside of a support densities are 0, their logarithms -inf, derivatives 0.
"""

from . import continuous as _continuous
from . import discrete as _discrete
from . import kde as _kde
from . import multivariate as _multivariate
from . import ranks as _ranks
from .continuous import *
from .discrete import *
from .kde import *
from .multivariate import *
from .ranks import *

__all__ = [*_continuous.__all__, *_discrete.__all__, *_multivariate.__all__, *_kde.__all__, *_ranks.__all__]
