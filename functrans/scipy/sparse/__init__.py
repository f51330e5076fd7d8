"""scipy.sparse on traced arrays: solvers of linear systems that only multiply with the matrix."""

from . import linalg as linalg

__all__ = ["linalg"]
