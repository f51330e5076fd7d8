"""scipy.optimize with exact derivatives, on pytrees, and differentiable through its solutions."""

from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, OptimizeResult

from .fitting import curve_fit, least_squares
from .minimizing import minimize, minimize_scalar
from .roots import root, root_scalar

__all__ = ["Bounds", "LinearConstraint", "NonlinearConstraint", "OptimizeResult", "curve_fit",
           "least_squares", "minimize", "minimize_scalar", "root", "root_scalar"]
