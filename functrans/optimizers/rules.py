"""First-order optimizers: one formula a leaf."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..calling.staging import api
from .base import Optimizer, descent, number, rule, scalar


def _decay(x, name):
    return number(x, name, 0.0, 1.0, open_high=True)


def _eps(x, name):
    return number(x, f"{name}: eps", 0.0, open_high=True)


def _mean(decay, old, new):
    """The running mean of what comes."""
    return scalar(decay, old) * old + scalar(1.0 - decay, old) * new


@api
def sgd(learning_rate: Any, *, weight_decay: Any = 0.0, mask: Any = None) -> Optimizer:
    """Gradient descent: ``p -= learning_rate * g``.

    Args:
      learning_rate: a number, also a traced one, or a schedule ``count -> number`` (count = 0 at the first
        update).
      weight_decay: this times ``p`` is added to ``g``; needs ``params`` in ``update``.
      mask: which parameters decay: a pytree of bools like the parameters or a prefix of one, or a function of
        the parameters that returns it. All, by default.

    Raises:
      functrans.errors.OptionError: a negative rate or weight decay.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.optimizers import apply_updates, sgd
    >>> opt, params = sgd(0.1), {"w": np.array([1.0, 2.0])}
    >>> grads = grad(lambda p: np.sum(p["w"] ** 2))(params)
    >>> updates, state = opt.update(grads, opt.init(params), params)
    >>> apply_updates(params, updates)
    {'w': array([0.8, 1.6])}
    """
    return descent("sgd", learning_rate, weight_decay=weight_decay, mask=mask)


@api
def momentum(learning_rate: Any, decay: Any = 0.9) -> Optimizer:
    """The heavy ball: ``v = decay * v + g``, ``p -= learning_rate * v`` (Polyak 1964).

    >>> import numpy as np
    >>> from functrans.optimizers import momentum
    >>> opt = momentum(0.1)
    >>> _, state = opt.update(np.array([1.0]), opt.init(np.zeros(1)))
    >>> opt.update(np.array([1.0]), state)[0]
    array([-0.19])
    """
    _decay(decay, "momentum: decay")

    def step(g, v):
        v = scalar(decay, v) * v + g
        return v, v
    return rule("momentum", ("velocity",), lambda t: (1.0, step), learning_rate)


@api
def nesterov(learning_rate: Any, decay: Any = 0.9) -> Optimizer:
    """Nesterov's momentum: ``v = decay * v + g``, ``p -= learning_rate * (g + decay * v)``.

    The form of Sutskever et al. (2013), section 2, in the variables of the looked-ahead point, as in PyTorch.

    >>> import numpy as np
    >>> from functrans.optimizers import nesterov
    >>> opt = nesterov(0.1)
    >>> opt.update(np.array([1.0]), opt.init(np.zeros(1)))[0]
    array([-0.19])
    """
    _decay(decay, "nesterov: decay")

    def step(g, v):
        v = scalar(decay, v) * v + g
        return g + scalar(decay, v) * v, v
    return rule("nesterov", ("velocity",), lambda t: (1.0, step), learning_rate)


@api
def adagrad(learning_rate: Any, initial_accumulator_value: float = 0.0, eps: float = 1e-10) -> Optimizer:
    """Adagrad: ``s += g**2``, ``p -= learning_rate * g / (sqrt(s) + eps)`` (Duchi, Hazan, Singer 2011).

    >>> import numpy as np
    >>> from functrans.optimizers import adagrad
    >>> opt = adagrad(0.5)
    >>> opt.update(np.array([3.0, -0.1]), opt.init(np.zeros(2)))[0]
    array([-0.5,  0.5])
    """
    number(initial_accumulator_value, "adagrad: initial_accumulator_value", 0.0, open_high=True)
    _eps(eps, "adagrad")

    def step(g, s):
        s = s + g * g
        return g / (np.sqrt(s) + scalar(eps, s)), s
    return rule("adagrad", ("sum",), lambda t: (1.0, step), learning_rate, start=initial_accumulator_value)


@api
def rmsprop(learning_rate: Any, decay: float = 0.9, eps: float = 1e-8, *, centered: bool = False,
            momentum: float = 0.0) -> Optimizer:
    """RMSprop: ``v = decay * v + (1 - decay) * g**2``, ``p -= learning_rate * g / (sqrt(v) + eps)``.

    Hinton's lecture 6e (2012). ``centered`` takes the square of the running mean of g from v (Graves 2013);
    with ``momentum`` the quotient is what a heavy ball sums.

    >>> import numpy as np
    >>> from functrans.optimizers import rmsprop
    >>> opt = rmsprop(0.1, decay=0.75)
    >>> opt.update(np.array([3.0]), opt.init(np.zeros(1)))[0].round(6)
    array([-0.2])
    """
    _decay(decay, "rmsprop: decay")
    _decay(momentum, "rmsprop: momentum")
    _eps(eps, "rmsprop")
    moving = not isinstance(momentum, (int, float)) or momentum != 0
    slots = ("square", *(["mean"] if centered else []), *(["velocity"] if moving else []))

    def step(g, square, *more):
        kept = [_mean(decay, square, g * g)]
        variance = kept[0]
        if centered:
            kept.append(_mean(decay, more[0], g))
            variance = np.maximum(variance - kept[1] * kept[1], scalar(0.0, g))     # but for rounding, >= 0
        out = g / (np.sqrt(variance) + scalar(eps, g))
        if moving:
            out = scalar(momentum, g) * more[-1] + out
            kept.append(out)
        return out, *kept
    return rule("rmsprop", slots, lambda t: (1.0, step), learning_rate)


def _adam(name, learning_rate, b1, b2, eps, weight_decay, mask):
    _decay(b1, f"{name}: b1")
    _decay(b2, f"{name}: b2")
    _eps(eps, name)

    def make(t):
        # Both corrections are numbers, not passes over the arrays: numerator and denominator times root.
        root = np.sqrt(1.0 - b2 ** t)

        def step(g, m, v):
            m, v = _mean(b1, m, g), _mean(b2, v, g * g)
            return m / (np.sqrt(v) + scalar(eps * root, g)), m, v
        return root / (1.0 - b1 ** t), step
    return rule(name, ("m", "v"), make, learning_rate, weight_decay=weight_decay, mask=mask)


@api
def adam(learning_rate: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam (Kingma, Ba 2015, algorithm 1)::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p -= learning_rate * m / (1 - b1**t) / (sqrt(v / (1 - b2**t)) + eps)

    Moments of float16 parameters are kept in float32.

    >>> import numpy as np
    >>> from functrans.optimizers import adam
    >>> opt = adam(1e-3)
    >>> updates, state = opt.update(np.array([3.0, -0.2]), opt.init(np.zeros(2)))
    >>> updates.round(6), state.count, list(state.slots)
    (array([-0.001,  0.001]), np.int64(1), ['m', 'v'])
    """
    return _adam("adam", learning_rate, b1, b2, eps, 0.0, None)


@api
def adamw(learning_rate: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, *,
          weight_decay: Any = 1e-2, mask: Any = None) -> Optimizer:
    """Adam with weight decay beside it: ``p -= learning_rate * (adam's direction + weight_decay * p)``.

    Loshchilov, Hutter (2019), algorithm 2, with the rate times the decay as in PyTorch. ``update`` needs
    ``params``. ``mask`` as in ``sgd``: often weights decay and biases do not.

    >>> import numpy as np
    >>> from functrans.optimizers import adamw
    >>> opt, params = adamw(0.1, weight_decay=0.5, mask={"w": True, "b": False}), {"w": 2.0, "b": 2.0}
    >>> updates, _ = opt.update({"w": 0.0, "b": 0.0}, opt.init(params), params)
    >>> float(updates["w"]), float(updates["b"])
    (-0.1, -0.0)
    """
    return _adam("adamw", learning_rate, b1, b2, eps, weight_decay, mask)


@api
def lion(learning_rate: Any, b1: float = 0.9, b2: float = 0.99, *, weight_decay: Any = 0.0,
         mask: Any = None) -> Optimizer:
    """Lion: signs of interpolated momentum (Chen et al. 2023, algorithm 2)::

        p -= learning_rate * (sign(b1 * m + (1 - b1) * g) + weight_decay * p)
        m = b2 * m + (1 - b2) * g

    >>> import numpy as np
    >>> from functrans.optimizers import lion
    >>> opt = lion(0.01)
    >>> opt.update(np.array([3.0, -0.2, 0.0]), opt.init(np.zeros(3)))[0]
    array([-0.01,  0.01, -0.  ])
    """
    _decay(b1, "lion: b1")
    _decay(b2, "lion: b2")

    def step(g, m):
        return np.sign(_mean(b1, m, g)), _mean(b2, m, g)
    return rule("lion", ("m",), lambda t: (1.0, step), learning_rate, weight_decay=weight_decay, mask=mask)
