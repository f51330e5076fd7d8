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
from .arrays import *  # noqa: F403
from .collectives import *  # noqa: F403
from .contractions import *  # noqa: F403
from .control import *  # noqa: F403
from .fourier import *  # noqa: F403
from .implicit import *  # noqa: F403
from .indexing import *  # noqa: F403
from .integers import *  # noqa: F403
from .ops import *  # noqa: F403
from .options import *  # noqa: F403
from .order import *  # noqa: F403
from .patches import *  # noqa: F403
from .reductions import *  # noqa: F403
from .segments import *  # noqa: F403
from .special import *  # noqa: F403
from .windows import *  # noqa: F403

__all__ = [*_ops.__all__, *_arrays.__all__, *_integers.__all__, *_contractions.__all__, *_reductions.__all__,
           *_control.__all__, *_collectives.__all__, *_order.__all__, *_windows.__all__, *_patches.__all__,
           *_fourier.__all__, *_implicit.__all__, *_options.__all__, *_indexing.__all__, *_segments.__all__,
           *_special.__all__]
