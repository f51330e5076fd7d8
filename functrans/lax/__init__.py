"""The primitive layer, with the names and signatures of ``jax.lax``.

In: arrays, numbers, tracers. Out: the same. What must hold: no promotion and no broadcasting but of
scalars; control flow is one equation that holds the programs of its bodies; every function runs
natively without a transform around it, too.
"""

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first
from . import arrays as _arrays
from . import collectives as _collectives
from . import contractions as _contractions
from . import control as _control
from . import fourier as _fourier
from . import implicit as _implicit
from . import indexing as _indexing
from . import integers as _integers
from . import linalg as linalg
from . import ops as _ops
from . import options as _options
from . import order as _order
from . import patches as _patches
from . import reductions as _reductions
from . import segments as _segments
from . import special as _special
from . import windows as _windows
from .arrays import *
from .collectives import *
from .contractions import *
from .control import *
from .fourier import *
from .implicit import *
from .indexing import *
from .integers import *
from .ops import *
from .options import *
from .order import *
from .patches import *
from .reductions import *
from .segments import *
from .special import *
from .windows import *

__all__ = [*_ops.__all__, *_arrays.__all__, *_integers.__all__, *_contractions.__all__, *_reductions.__all__,
           *_control.__all__, *_collectives.__all__, *_order.__all__, *_windows.__all__, *_patches.__all__,
           *_fourier.__all__, *_implicit.__all__, *_options.__all__, *_indexing.__all__, *_segments.__all__,
           *_special.__all__]
