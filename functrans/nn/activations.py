"""Activations: elementwise functions, with the names and signatures of ``jax.nn``.

float16, float32 and float64 stay what they are, integers become float64. Of pieces that meet in a kink the
derivative there is 0 (relu at 0), or that of the right one (elu). Written so that neither value nor
derivative overflows or loses digits in a tail.
"""

from __future__ import annotations

import functools
import inspect
import math

import numpy as np

from .core import OPS, api, aval_of, axis_of, errors, floats, number, program

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _activation(function):
    """The public function of one on a float operand; its further parameters are static."""
    run = program(lambda x, *, params: function(x, *params))

    @functools.wraps(function)
    def public(x, *params, **named):
        (x,) = floats(function.__name__, x=x)
        if named or params:
            bound = signature.bind(x, *params, **named)
            params = bound.args[1:]
        return run(x, params=params)

    signature = inspect.signature(function)
    return api(public)


def _elementwise(name, x, text, example, value):
    """An activation that is one op."""
    def function(x):
        return OPS[name](x)
    function.__name__ = function.__qualname__ = x
    function.__doc__ = f"{text}\n\n>>> from functrans import nn\n>>> float(nn.{x}({example}))\n{value}"
    return _activation(function)


sigmoid = _elementwise("logistic", "sigmoid", "1 / (1 + exp(-x)).", "0.0", "0.5")
tanh = _elementwise("tanh", "tanh", "The hyperbolic tangent.", "0.0", "0.0")


@_activation
def identity(x):
    """x.

    >>> from functrans import nn
    >>> float(nn.identity(2.0))
    2.0
    """
    return x


# ----- pieces of lines ----------------------------------------------------------------------------


@_activation
def relu(x):
    """max(x, 0), with derivative 0 at 0.

    >>> import numpy as np
    >>> from functrans import grad, nn
    >>> nn.relu(np.array([-1.0, 2.0])), grad(nn.relu)(0.0)
    (array([0., 2.]), np.float64(0.0))
    """
    return np.where(x <= 0, number(0, x), x)


@_activation
def relu6(x):
    """min(max(x, 0), 6), with derivative 0 at 0 and 6.

    >>> from functrans import nn
    >>> float(nn.relu6(7.0))
    6.0
    """
    return np.where(x <= 0, number(0, x), np.where(x >= 6, number(6, x), x))


@_activation
def leaky_relu(x, negative_slope=0.01):
    """x where it is not negative, ``negative_slope * x`` elsewhere.

    >>> from functrans import nn
    >>> float(nn.leaky_relu(-2.0, 0.1))
    -0.2
    """
    return np.where(x >= 0, x, number(negative_slope, x) * x)


@_activation
def hard_tanh(x):
    """x between -1 and 1, with derivative 0 from there on.

    >>> from functrans import nn
    >>> float(nn.hard_tanh(-2.0))
    -1.0
    """
    return np.where(x >= 1, number(1, x), np.where(x <= -1, number(-1, x), x))


@_activation
def hard_sigmoid(x):
    """relu6(x + 3) / 6.

    >>> from functrans import nn
    >>> float(nn.hard_sigmoid(0.0))
    0.5
    """
    return np.where(x <= -3, number(0, x), np.where(x >= 3, number(1, x), x / 6 + number(0.5, x)))


@_activation
def hard_silu(x):
    """x * hard_sigmoid(x), also called hard_swish.

    >>> from functrans import nn
    >>> float(nn.hard_silu(3.0))
    3.0
    """
    return np.where(x <= -3, number(0, x), np.where(x >= 3, x, OPS["zmul"](x, x / 6 + number(0.5, x))))


hard_swish = hard_silu


# ----- exponential units --------------------------------------------------------------------------


@_activation
def elu(x, alpha=1.0):
    """x where it is positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Clevert, Unterthiner, Hochreiter, 2016.

    >>> from functrans import nn
    >>> round(float(nn.elu(-1.0)), 6)
    -0.632121
    """
    return np.where(x > 0, x, number(alpha, x) * np.expm1(x))


@_activation
def celu(x, alpha=1.0):
    """x where it is positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere; its slope is continuous.

    Barron, 2017.

    >>> from functrans import nn
    >>> round(float(nn.celu(-2.0, 2.0)), 6)
    -1.264241
    """
    alpha = number(alpha, x)
    return np.where(x > 0, x, alpha * np.expm1(x / alpha))


@_activation
def selu(x):
    """A scaled elu whose outputs keep mean 0 and variance 1.

    Klambauer, Unterthiner, Mayr, Hochreiter, 2017.

    >>> from functrans import nn
    >>> round(float(nn.selu(1.0)), 6)
    1.050701
    """
    scale = number(_SELU_SCALE, x)
    return np.where(x > 0, scale * x, number(_SELU_SCALE * _SELU_ALPHA, x) * np.expm1(x))


# ----- smooth ones --------------------------------------------------------------------------------


@_activation
def softplus(x, beta=1.0):
    """log(1 + exp(beta * x)) / beta.

    >>> from functrans import nn
    >>> round(float(nn.softplus(0.0)), 6), float(nn.softplus(1000.0))
    (0.693147, 1000.0)
    """
    return _softplus(x) if beta == 1 else _softplus(number(beta, x) * x) / number(beta, x)


def _softplus(x):
    return np.logaddexp(x, number(0, x))


@_activation
def log_sigmoid(x):
    """log(sigmoid(x)), exact in both tails.

    >>> from functrans import nn
    >>> float(nn.log_sigmoid(-1000.0))
    -1000.0
    """
    return -_softplus(-x)


@_activation
def silu(x):
    """x * sigmoid(x), also called swish; 0 at -inf.

    >>> from functrans import nn
    >>> round(float(nn.silu(1.0)), 6)
    0.731059
    """
    return OPS["zmul"](x, OPS["logistic"](x))


swish = silu


@_activation
def mish(x):
    """x * tanh(softplus(x)); 0 at -inf. Misra, 2019.

    >>> from functrans import nn
    >>> round(float(nn.mish(1.0)), 6)
    0.865098
    """
    return OPS["zmul"](x, np.tanh(_softplus(x)))


@_activation
def gelu(x, approximate=True):
    """x * Phi(x), Phi the distribution function of the normal distribution; 0 at -inf.

    Args:
        approximate: True or ``"tanh"`` (as in JAX): by 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))).
            False or ``"none"`` (as in PyTorch): exact, also where Phi(x) is tiny.

    Hendrycks, Gimpel, 2016.

    >>> from functrans import nn
    >>> round(float(nn.gelu(1.0)), 6), round(float(nn.gelu(1.0, approximate=False)), 6)
    (0.841192, 0.841345)
    """
    if approximate not in (True, False, "tanh", "none"):
        raise errors.OptionError(
            f"nn.gelu: approximate must be True ('tanh') or False ('none'), got {approximate!r}")
    if approximate in (True, "tanh"):       # (1 + tanh(u)) / 2 = sigmoid(2 u), without cancellation
        c = 2 * math.sqrt(2 / math.pi)
        return OPS["zmul"](x, OPS["logistic"](x * (number(c * 0.044715, x) * (x * x) + number(c, x))))
    return OPS["zmul"](x, number(0.5, x) * OPS["erfc"](number(-math.sqrt(0.5), x) * x))


@_activation
def soft_sign(x):
    """x / (1 + abs(x)).

    >>> from functrans import nn
    >>> float(nn.soft_sign(-1.0))
    -0.5
    """
    return x / (1 + np.abs(x))


@_activation
def squareplus(x, b=4.0):
    """(x + sqrt(x**2 + b)) / 2. Barron, 2021.

    >>> from functrans import nn
    >>> float(nn.squareplus(0.0))
    1.0
    """
    return number(0.5, x) * (x + np.sqrt(x * x + number(b, x)))


@_activation
def glu(x, axis=-1):
    """a * sigmoid(b), a and b the halves of x along an axis of even extent. Dauphin and others, 2017.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.glu(np.array([3.0, 0.0]))
    array([1.5])
    """
    a = aval_of(x)
    axis = axis_of(axis, a.ndim)
    if a.shape[axis] % 2:
        raise errors.ShapeError(f"nn.glu: axis {axis} of {a} has no halves.", "Its extent must be even.")
    first, second = np.split(x, 2, axis)
    return first * OPS["logistic"](second)


__all__ = ["celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity",
           "leaky_relu", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign",
           "softplus", "squareplus", "swish", "tanh"]
