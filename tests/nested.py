"""References for nested derivatives: the same program with mpmath's differentiation in place of ours."""

import mpmath
import numpy as np

import functrans as ft
from functrans import lax


def difference(f, x, h=1e-4):
    """df/dx of a scalar argument: central differences, extrapolated twice (error ~ h**6)."""
    def d(h):
        return (np.asarray(f(x + h)) - np.asarray(f(x - h))) / (2 * h)
    a, b, c = d(4 * h), d(2 * h), d(h)
    ab, bc = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * bc - ab) / 15


def directional(f, x, t):
    """The derivative of f at the array x along t."""
    x, t = np.asarray(x, float), np.asarray(t, float)
    return difference(lambda s: f(x + s * t), 0.0)


def gradient(f, x):
    """All partial derivatives of a scalar f at the array x."""
    x = np.asarray(x, float)
    return np.array([directional(f, x, e.reshape(x.shape)) for e in np.eye(x.size)]).reshape(x.shape)


# ----- transforms of a function of one number that give its value (with another transform in the way)

def by_vmap(f):
    return lambda x: ft.vmap(f, axis_size=2)(np.ones(2) * x)[1]


def by_unused_vmap(f):
    """Nothing that f gets is mapped, but what it closes over may be."""
    return lambda x: ft.vmap(lambda i: f(x) + 0.0 * i)(np.zeros(2))[0]


def by_scan(f):
    return lambda x: lax.scan(lambda c, _: (f(c), c), x, None, length=1)[0]


def by_cond(f):
    return lambda x: lax.cond(np.True_, f, lambda y: y * 0.0, x)


VALUES = {
    "identity": lambda f: f,
    "jit": ft.jit,
    "checkpoint": ft.checkpoint,
    "jvp value": lambda f: lambda x: ft.jvp(f, (x,), (2.0,))[0],
    "vjp value": lambda f: lambda x: ft.vjp(f, x)[0],
    "linearize value": lambda f: lambda x: ft.linearize(f, x)[0],
    "value_and_grad value": lambda f: lambda x: ft.value_and_grad(f)(x)[0],
    "vmap": by_vmap,
    "unused vmap": by_unused_vmap,
    "scan": by_scan,
    "cond": by_cond,
}
DERIVATIVES = {
    "grad": ft.grad,
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (1.0,))[1],
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](1.0),
    "jacfwd": ft.jacfwd,
    "jacrev": ft.jacrev,
    "vmap grad": lambda f: by_vmap(ft.grad(f)),
    "grad vmap": lambda f: ft.grad(by_vmap(f)),
    "jit grad": lambda f: ft.jit(ft.grad(f)),
    "grad jit": lambda f: ft.grad(ft.jit(f)),
    "grad checkpoint": lambda f: ft.grad(ft.checkpoint(f)),
    "vmap of jvp": lambda f: lambda x: ft.vmap(lambda t: ft.jvp(f, (x,), (t,))[1])(
        np.array([0.0, 1.0]))[1],
}
ALL = {**VALUES, **DERIVATIVES}


def reference(name):
    """What a transform does to a function of one number, in mpmath."""
    return (lambda f: lambda x: mpmath.diff(f, x)) if name in DERIVATIVES else (lambda f: f)


def exact(program, sin, names, x):
    """The value of ``program(sin, transforms)(x)`` by mpmath, good to many digits."""
    with mpmath.workdps(40):
        return float(program(sin, *[reference(n) for n in names])(mpmath.mpf(x)))
