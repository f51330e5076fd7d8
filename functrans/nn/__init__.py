"""Neural-network functions, with the names and signatures of ``jax.nn`` and ``torch.nn.functional``.

In: arrays, numbers, tracers. Out: the same; nothing here has a state. What must hold: each function runs
natively (as one compiled program), and under every transform, of any order; derivatives follow from the
operations that it is made of, which are chosen so that they are exact for masked entries and extreme values.
"""

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first
from . import activations as _activations
from . import attention as _attention
from . import convolutions as _convolutions
from . import exponentials as _exponentials
from . import initializers as initializers
from . import layers as _layers
from . import losses as _losses
from . import norms as _norms
from . import pooling as _pooling
from .activations import *
from .attention import *
from .convolutions import *
from .exponentials import *
from .layers import *
from .losses import *
from .norms import *
from .pooling import *

__all__ = [*_activations.__all__, *_exponentials.__all__, *_losses.__all__, *_norms.__all__,
           *_convolutions.__all__, *_pooling.__all__, *_attention.__all__, *_layers.__all__, "initializers"]
