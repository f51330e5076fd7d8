"""Bessel functions and their kin."""

from __future__ import annotations

import numpy as np

from ... import errors
from ...ir.op import OPS
from ...numpy.core import traced
from .core import direct, float_of, floats, special

j0 = direct("j0", "x", "The Bessel function of the first kind of order 0.", "2.0 -> 0.2238907791",
            op="bessel_j0")
j1 = direct("j1", "x", "The Bessel function of the first kind of order 1.", "2.0 -> 0.5767248077",
            op="bessel_j1")
y0 = direct("y0", "x", "The Bessel function of the second kind of order 0.", "2.0 -> 0.5103756726",
            op="bessel_y0")
y1 = direct("y1", "x", "The Bessel function of the second kind of order 1.", "2.0 -> -0.107032431",
            op="bessel_y1")
i0 = direct("i0", "x", "The modified Bessel function of order 0.", "2.0 -> 2.2795853023", op="bessel_i0")
i0e = direct("i0e", "x", "exp(-abs(x)) i0(x), which does not overflow.", "800.0 -> 0.0141069450",
             op="bessel_i0e")
i1 = direct("i1", "x", "The modified Bessel function of order 1.", "2.0 -> 1.5906368546", op="bessel_i1")
i1e = direct("i1e", "x", "exp(-abs(x)) i1(x), which does not overflow.", "800.0 -> 0.0140981254",
             op="bessel_i1e")
k0 = direct("k0", "x", "The modified Bessel function of the second kind of order 0.", "2.0 -> 0.1138938727",
            op="bessel_k0")
k0e = direct("k0e", "x", "exp(x) k0(x), which does not underflow.", "800.0 -> 0.0443044274", op="bessel_k0e")
k1 = direct("k1", "x", "The modified Bessel function of the second kind of order 1.", "2.0 -> 0.1398658818",
            op="bessel_k1")
k1e = direct("k1e", "x", "exp(x) k1(x), which does not underflow.", "800.0 -> 0.0443321091", op="bessel_k1e")

_ORDER = "\n\nThe derivative is by the second argument, by recurrence in the order (DLMF 10.6.1, 10.29.1)."
jv = direct("jv", "v z", f"The Bessel function of the first kind of real order v.{_ORDER}",
            "1.5, 2.0 -> 0.4912937786",
            op="bessel_jv")
jn = direct("jn", "n x", f"The Bessel function of the first kind, as jv.{_ORDER}", "2, 2.0 -> 0.3528340286",
            op="bessel_jv")
yv = direct("yv", "v z", f"The Bessel function of the second kind of real order v.{_ORDER}",
            "1.5, 2.0 -> -0.395623281",
            op="bessel_yv")
yn = direct("yn", "n x", f"The Bessel function of the second kind of whole order n.{_ORDER}",
            "2, 2.0 -> -0.617408104",
            op="bessel_yv")
iv = direct("iv", "v z", f"The modified Bessel function of real order v.{_ORDER}",
            "1.5, 2.0 -> 1.0994731886", op="bessel_iv")
ive = direct("ive", "v z", f"exp(-abs(z)) iv(v, z).{_ORDER}", "1.5, 800.0 -> 0.0140871086", op="bessel_ive")
kv = direct("kv", "v z", f"The modified Bessel function of the second kind of real order v.{_ORDER}",
            "1.5, 2.0 -> 0.1799066579", op="bessel_kv")
kn = direct("kn", "n x", f"The modified Bessel function of the second kind of whole order n.{_ORDER}",
            "2, 2.0 -> 0.2537597545",
            op="bessel_kv")
kve = direct("kve", "v z", f"exp(z) kv(v, z).{_ORDER}", "1.5, 800.0 -> 0.0443667354", op="bessel_kve")
struve = direct("struve", "v x", "Struve's function H_v(x) (DLMF 11.2.1); the derivative is by x.",
                "1.5, 2.0 -> 0.4506610939")
modstruve = direct("modstruve", "v x",
                   "The modified Struve function L_v(x) (DLMF 11.2.2); the derivative is by x.",
                   "1.5, 2.0 -> 0.7028462612")


@special
def airy(z):
    """Airy's functions and their derivatives: (Ai, Ai', Bi, Bi') of real z (DLMF 9.2).

    >>> from functrans.scipy import special
    >>> float(special.airy(1.0)[0])
    0.1352924163...
    """
    z = float_of(z)
    return tuple([OPS[name](z) for name in ("airy_ai", "airy_aip", "airy_bi", "airy_bip")])


def _spherical(name, what, odd=None):
    """``odd``: the parity of orders for which the function is odd; None: only of positive z."""
    def function(n, z, derivative=False):
        n, z = floats(n, z)
        flip = False
        if odd is not None:             # the ops are of positive numbers
            negative = z < 0
            z = np.where(negative, -z, z)
            flip = negative & ((np.fmod(n, 2.0) == odd) != derivative)
        if not derivative:
            value = OPS[name](n, z)
            return np.where(flip, -value, value)
        zero, below = n == 0, np.where(n == 0, 0.0, n - 1.0)
        lower = np.where(zero, 0.0, n * OPS[name](below, z))
        upper = (n + 1.0) * OPS[name](n + 1.0, z)
        lower, upper = {"spherical_jn": (lower, -upper), "spherical_yn": (lower, -upper),
                        "spherical_in": (lower, upper), "spherical_kn": (-lower, -upper)}[name]
        value = (lower + upper) / (2.0 * n + 1.0)
        return np.where(flip, -value, value)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{what} of whole order n, or its derivative (DLMF 10.47, 10.51).

    >>> from functrans.scipy import special
    >>> from functrans import grad
    >>> bool(np.isclose(grad(special.{name}, 1)(2.0, 1.5), special.{name}(2, 1.5, derivative=True)))
    True
    """
    return special(ufunc=False)(function)


spherical_jn = _spherical("spherical_jn", "The spherical Bessel function of the first kind", 1)
spherical_yn = _spherical("spherical_yn", "The spherical Bessel function of the second kind", 0)
spherical_in = _spherical("spherical_in", "The modified spherical Bessel function of the first kind", 1)
spherical_kn = _spherical("spherical_kn", "The modified spherical Bessel function of the second kind")


def bessel_jn(z, *, v, n_iter=50):
    """J_0(z) ... J_v(z), stacked along a new first axis, as ``jax.scipy.special.bessel_jn``.

    ``v`` is a known whole number; ``n_iter`` is accepted and not needed: each order is computed by itself.

    >>> from functrans.scipy import special
    >>> special.bessel_jn(1.0, v=2)
    array([0.76519769, 0.44005059, 0.11490348])
    """
    if traced(v) or np.ndim(v) or int(v) != v or v < 0:
        raise errors.ArgumentError(f"bessel_jn: v must be a whole number, got {v!r}.")
    z = float_of(z)
    return np.stack([OPS["bessel_jv"](*floats(float(n), z)) for n in range(int(v) + 1)])


__all__ = ["j0", "j1", "y0", "y1", "i0", "i0e", "i1", "i1e", "k0", "k0e", "k1", "k1e", "jv", "jn", "yv", "yn",
           "iv", "ive", "kv", "kn", "kve", "struve", "modstruve", "airy", "spherical_jn", "spherical_yn",
           "spherical_in", "spherical_kn", "bessel_jn"]
