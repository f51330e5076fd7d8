"""functrans.testing: right rules pass, wrong ones are found, with the element and the line."""

import numpy as np
import pytest

from functrans import custom_jvp, custom_vjp, custom_vmap, errors, jvp, lax, vjp
from functrans.testing import check_grads, check_jvp, check_vjp, check_vmap

X = np.array([0.3, 0.7, -0.2])


def wrong_jvp():
    f = custom_jvp(lambda x: x ** 2)
    f.defjvp(lambda p, t: (f(*p), np.where(p[0] == 0.7, 9.0, 2 * p[0]) * t[0]))
    return f


def test_right_derivatives_pass():
    def f(p, n):
        h = np.tanh(p["w"] @ p["x"] + n)
        return {"a": h * p["x"], "n": n + 1, "s": lax.scan(lambda c, v: (np.sin(c) * v, c), 1.0, h)[1]}
    args = ({"w": np.outer(X, X), "x": X}, 2)
    check_grads(f, args, order=2)
    check_grads(np.sum, (X,), 3, "rev")
    check_grads(lambda z: z * z.conj() + np.exp(z), (X + 0.5j,), order=2)
    check_grads(np.sin, (X.astype(np.float32),), order=1)
    check_jvp(np.sin, lambda p, t: jvp(np.sin, p, t), (X,))
    check_vjp(np.sin, lambda x: vjp(np.sin, x), (X,))


def test_a_wrong_rule_is_found():
    f = wrong_jvp()

    def user(x):
        y = np.sin(x) + x
        z = f(x)
        return {"out": z * y}
    line = f"test_testing.py:{user.__code__.co_firstlineno + 2} in user"
    with pytest.raises(errors.CheckError, match=r"forward mode the derivative of result\['out'\]\[1\]"
                       ) as caught:
        check_grads(user, (X,), modes="fwd")
    assert line in str(caught.value)
    with pytest.raises(AssertionError, match=r"cotangent of args\[0\]\[1\] is") as caught:
        check_grads(user, (X,), modes=("rev",))
    assert line in str(caught.value)
    g = custom_vjp(lambda x, y: x * y)
    g.defvjp(lambda x, y: (x * y, (x, y)), lambda r, ct: (r[1] * ct, 2.0 * r[0] * ct))
    with pytest.raises(errors.CheckError, match=r"args\[1\] is"):
        check_grads(g, (2.0, 3.0), modes="rev")
    with pytest.raises(errors.CheckError, match="in reverse mode"):      # wrong in the second order only
        h = custom_jvp(np.sin)
        h.defjvp(lambda p, t: (np.sin(p[0]), custom_flat(p[0]) * t[0]))
        check_grads(h, (0.5,), order=2, modes="rev")


def custom_flat(x):
    flat = custom_jvp(np.cos)
    flat.defjvp(lambda p, t: (np.cos(p[0]), 0.0 * t[0]))
    return flat(x)


def test_rules_given_by_hand():
    with pytest.raises(errors.CheckError, match="check_jvp of sin: in forward mode the derivative of result"):
        check_jvp(np.sin, lambda p, t: (np.sin(*p), t[0]), (0.5,))
    with pytest.raises(errors.CheckError, match="the rule gives"):
        check_jvp(np.sin, lambda p, t: (np.cos(*p), np.cos(*p) * t[0]), (0.5,))
    with pytest.raises(errors.CheckError, match="check_vjp of sin"):
        check_vjp(np.sin, lambda x: (np.sin(x), lambda ct: (ct,)), (0.5,))
    with pytest.raises(errors.IntegerInputError):
        check_grads(np.abs, (3,))
    with pytest.raises(errors.ArgumentError, match="order"):
        check_grads(np.sin, (1.0,), 0)


def test_check_vmap():
    check_vmap(lambda p, y: {"a": p["u"] * y, "b": np.sum(y)}, ({"u": np.outer(X, X)}, X), ({"u": 1}, None),
               {"a": 1, "b": None})
    f = custom_vmap(np.sin)
    f.def_vmap(lambda size, flags, x: (np.where(x == 0.7, 0.0, np.sin(x)), True))
    with pytest.raises(errors.CheckError, match=r"result\[1\] is 0.0"):
        check_vmap(f, (X,))
