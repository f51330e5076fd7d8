"""Programs built by hand from op records, and their NumPy interpreter: for the tests of plans."""

import importlib

import numpy as np
from functrans.plan.lower import lower
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from functrans.ir import core
from functrans.ir.op import OPS, Op

for _room in ("contract", "control", "dynamic", "elementwise", "index", "reduce", "scan", "shape",
              "while_loop"):
    importlib.import_module(f"functrans.ops.{_room}")       # their records enter OPS
Jaxpr, Lit, aval, lit, signature = core.Jaxpr, core.Lit, core.aval, core.lit, core.signature
F = np.float64


def jaxpr(avals, f):
    """The jaxpr of ``f(op, *inputs) -> outputs``, where ``op(name, *operands, **params)`` binds."""
    avals = [aval(a, F) if isinstance(a, tuple) else a for a in avals]
    ins = [core.var(a, i) for i, a in enumerate(avals)]
    eqns, count = [], [len(ins)]

    def op(name, *operands, **params):
        record = name if isinstance(name, Op) else OPS[name]
        operands = [lit(x, aval((), F)) if isinstance(x, float) else x for x in operands]
        sig = signature(record, tuple(x.aval for x in operands), params)
        outs = tuple(core.var(a, count[0] + i) for i, a in enumerate(sig.outs))
        count[0] += len(outs)
        eqns.append(core.eqn(sig, tuple(operands), outs))
        return list(outs) if sig.multiple else outs[0]

    return Jaxpr(ins, eqns, f(op, *ins))


def interpret(jx, values):
    """The outputs by the records' NumPy references."""
    env = dict(zip(jx.invars, values, strict=True))

    def read(x):
        return np.full(x.aval.shape, x.value) if isinstance(x, Lit) else env[x]

    for e in jx.eqns:
        with np.errstate(all="ignore"):
            got = e.op.reference(*[read(x) for x in e.inputs], **e.params)
        env[e.outs[0]] = np.asarray(got)
    return [read(x) for x in jx.outs]


def check(jx, *values):
    program = lower(jx)
    got = program.run(list(values))
    for a, b, v in zip(got, interpret(jx, values), jx.out_avals, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        assert a.shape == v.shape and a.dtype == v.dtype
        if v.ndim:
            assert type(a) is np.ndarray and a.flags.c_contiguous and a.flags.writeable
            assert a.flags.owndata
        else:
            assert type(a) is v.dtype.type
    for i, a in enumerate(got):
        for b in [*got[i + 1:], *values]:
            assert not np.shares_memory(a, b)
    return got


def check_run(jx, *values):
    copies = [np.array(v) for v in values]
    got = lower(jx).run(list(values))
    for v, c in zip(values, copies, strict=True):
        assert_array_equal(v, c)
    for i, a in enumerate(got):
        for b in [*got[i + 1:], *values]:
            assert not np.shares_memory(a, b)
    return got


def chain(n):
    def f(op, x):
        y = x
        for i in range(n):
            y = op("add" if i % 2 else "mul", y, x)
        return [y]
    return f


@st.composite
def mixed_loops(draw):
    """A random loop body on carries f64[2], f32[2], i64[], bool[2] and a way to run it."""
    types = [aval((2,), F), aval((2,), np.float32), aval((), np.int64), aval((2,), bool)]
    picks = [draw(st.integers(0, 5)) for _ in range(4)]

    def body(op, x, y, n, b):
        wide = op("convert", y, dtype=np.dtype(F))
        narrow = op("convert", x, dtype=np.dtype(np.float32))
        count = op("convert", op("broadcast_in_dim", n, shape=(2,), dims=()), dtype=np.dtype(F))
        k = aval((), np.int64)
        floats = [x, wide, op("select", b, x, wide), op("mul", x, lit(0.5, x.aval)), op("sub", count, x),
                  op("mul", op("sin", x), wide)]
        singles = [y, narrow, op("add", y, narrow), op("neg", y), op("max", y, narrow), op("mul", y, y)]
        wholes = [n, op("add", n, lit(3, k)), op("mod", n, lit(5, k)), op("mul", n, lit(-1, k)),
                  op("xor", n, lit(6, k)), op("convert", op("reduce_sum", x, axes=(0,)), dtype=k.dtype)]
        truths = [b, op("not", b), op("lt", x, wide), op("ne", y, narrow), op("rev", b, axes=(0,)),
                  op("and", b, op("ge", x, x))]
        return [kind[p] for kind, p in zip((floats, singles, wholes, truths), picks, strict=True)]

    kind, length = draw(st.sampled_from(["scan", "while"])), draw(st.sampled_from([1, 2, 5]))
    return types, body, kind, length
