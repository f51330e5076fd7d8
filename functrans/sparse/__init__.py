"""Sparse derivatives: Jacobians and Hessians as SciPy matrices, and which entries they can have."""

from .derivatives import (
    Prepared,
    SparsityWarning,
    hessian,
    hessian_sparsity,
    jacobian,
    jacobian_sparsity,
)
from .operators import hessian_operator, jacobian_operator

__all__ = [
    "Prepared", "SparsityWarning", "hessian", "hessian_operator", "hessian_sparsity", "jacobian",
    "jacobian_operator", "jacobian_sparsity",
]
