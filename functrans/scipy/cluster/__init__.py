"""scipy.cluster: vector quantisation, in ``vq``."""

from . import vq as vq

__all__ = ["vq"]
