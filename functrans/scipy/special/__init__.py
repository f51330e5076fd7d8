"""scipy.special on traced arrays, with the functions of ``jax.scipy.special``.

In: arrays, numbers, tracers. Out: the same. What must hold: without a traced argument the functions are
SciPy's own, which is imported then; on traced arrays values are SciPy's, too, since the ops
(``ops/special.py`` and its neighbours) call SciPy's C functions. ``scipy.special``'s ufuncs,
called on tracers, come here.
"""

from . import bessel as _bessel
from . import entropy as _entropy
from . import gamma as _gamma
from . import integrals as _integrals
from . import normal as _normal
from . import tails as _tails
from . import transforms as _transforms
from .bessel import *
from .core import BY_NAME as BY_NAME
from .entropy import *
from .gamma import *
from .integrals import *
from .normal import *
from .tails import *
from .transforms import *

__all__ = [name for module in (_gamma, _normal, _bessel, _integrals, _entropy, _tails, _transforms)
           for name in module.__all__]
