"""Random numbers: draws from counters by Threefry-2x32, and samplers that reject.

A key is a pair of uint32, the last axis of an array. Element i of a draw is a function of the key and of i
alone: nothing depends on threads, blocks, or how a call was batched.
"""

from __future__ import annotations

import numpy as np

from ..ir.op import CODE, ErrorSample, Hooks, Op, Sample, aval_of, batch_first, flat
from .elementwise import gamma_slope, log, zmul

_U32 = np.dtype("uint32")
# What the two words of a block become: name of the kernel, dtype, words an element.
FORMS = {"u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "pair": "uint32",
         "unit_f32": "float32", "unit_f64": "float64", "normal_f32": "float32", "normal_f64": "float64"}


def _check_key(name, key):
    if key.dtype != _U32 or key.ndim < 1 or key.shape[-1] != 2:
        raise TypeError(f"{name}: a key is uint32 with a last axis of 2 words, got {key}")


def _size(shape):
    return int(np.prod(shape, dtype=np.int64))


# ----- reference: the algorithm in NumPy -----------------------------------------------------------------


def reference_threefry(key, counter):
    """20 rounds of Threefry-2x32 on pairs of words, with NumPy."""
    with np.errstate(over="ignore"):
        k0, k1 = key[..., 0], key[..., 1]
        schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
        a, b = counter[..., 0] + k0, counter[..., 1] + k1
        for group in range(5):
            for r in (13, 15, 26, 6) if group % 2 == 0 else (17, 29, 16, 24):
                a = a + b
                b = ((b << np.uint32(r)) | (b >> np.uint32(32 - r))) ^ a
            a = a + schedule[(group + 1) % 3]
            b = b + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return np.stack([a, b], -1)


def _draw_reference(key, *, shape, form):
    n = np.arange(_size(shape), dtype=np.uint64)
    counter = np.stack([n >> np.uint64(32), n & np.uint64(0xFFFFFFFF)], -1).astype(_U32)
    words = reference_threefry(np.asarray(key)[..., None, :], counter)
    a, b = words[..., 0], words[..., 1]
    lead = np.shape(key)[:-1]
    if form == "pair":
        return words.reshape(lead + shape + (2,))
    wide = a.astype(np.uint64) << np.uint64(32) | b
    if form in ("u8", "u16", "u32"):
        out = (a ^ b).astype(FORMS[form])
    elif form == "u64":
        out = wide
    elif form.endswith("f32"):
        out = ((a ^ b) >> np.uint32(9) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    else:
        out = (wide >> np.uint64(12) | np.uint64(0x3FF0000000000000)).view(np.float64) - 1
    if form.startswith("normal"):
        from scipy.special import erfinv
        low = np.nextafter(out.dtype.type(-1), out.dtype.type(0))
        out = (np.sqrt(2) * erfinv(np.maximum(out * 2 + low, low).astype(np.float64))).astype(out.dtype)
    return out.reshape(lead + shape)


# ----- draws -----------------------------------------------------------------------------------------


def _draw_infer(key, *, shape, form):
    _check_key("random_draw", key)
    if form not in FORMS:
        raise ValueError(f"random_draw: form must be one of {', '.join(FORMS)}, got {form!r}")
    if any(n < 0 for n in shape):
        raise ValueError(f"random_draw: extents must not be negative, got {shape}")
    return key.shape[:-1] + shape + ((2,) if form == "pair" else ()), np.dtype(FORMS[form])


def _draw_lower(ctx, eqn, views):
    key = ctx.contiguous(views[0])
    out = ctx.new(eqn.outs[0].aval)
    form = eqn.params["form"]
    n = _size(eqn.params["shape"])
    bytes_ = out.dtype.itemsize * (2 if form == "pair" else 1)
    ctx.step(f"random:{form}", [out, key], (_size(key.shape) // 2, n), strides=[(8, 8)] * 2, ints=(bytes_,))
    return [out]


_KEY = np.array([0x243F6A88, 0x85A308D3], _U32)
_KEYS = np.array([[1, 2], [3, 0xFFFFFFFF], [0, 7]], _U32)

random_draw = flat(
    "random_draw", family="random", infer=_draw_infer, lower=_draw_lower, reference=_draw_reference,
    batch=lambda size, operands, dims, *, shape, form: (
        [random_draw(batch_first(size, operands[0], dims[0]), shape=shape, form=form)], [0]),
    samples=[*[Sample(_KEY, shape=(3, 5), form=form) for form in FORMS],
             Sample(_KEYS, shape=(2,), form="u32"), Sample(_KEY, shape=(), form="unit_f64"),
             Sample(_KEY, shape=(0, 2), form="pair"), Sample(_KEYS, shape=(600,), form="u64")],
    errors=[ErrorSample(np.zeros(3, _U32), shape=(), form="u32", error=TypeError, match="last axis of 2"),
            ErrorSample(_KEY, shape=(), form="bits", match="form must be one of")])


def _threefry_infer(key, counter):
    _check_key("threefry", key)
    if counter.dtype != _U32 or counter.shape != key.shape:
        raise ValueError(f"threefry: the counters must be uint32 in the shape of the keys, got {key} and "
                         f"{counter}")
    return key.shape, _U32


def _threefry_lower(ctx, eqn, views):
    key, counter = [ctx.contiguous(v) for v in views]
    out = ctx.new(eqn.outs[0].aval)
    n = _size(key.shape) // 2
    ctx.step("threefry", [out, key, counter], (n,), strides=[(8,)] * 3, cost=5.0 * n)
    return [out]


threefry = flat(
    "threefry", family="random", infer=_threefry_infer, lower=_threefry_lower, reference=reference_threefry,
    batch=lambda size, operands, dims: (
        [threefry(*[batch_first(size, x, d) for x, d in zip(operands, dims, strict=True)])], [0]),
    samples=[Sample(_KEY, np.array([0, 9], _U32)), Sample(_KEYS, _KEYS[::-1].copy())],
    errors=[ErrorSample(_KEY, _KEYS, match="in the shape of the keys")])


# ----- samplers --------------------------------------------------------------------------------------


def _sampler(name, count, jvp=None):
    """``name(keys, *parameters)``: draws in the shape of the parameters, whose first axes are the keys'."""
    op_name = f"random_{name}"

    def infer(key, *params):
        _check_key(op_name, key)
        first = params[0]
        if len(params) != count or any(p.shape != first.shape or p.dtype != first.dtype for p in params):
            raise ValueError(f"{op_name} takes {count} parameters of one shape and dtype, got {params}")
        if CODE.get(first.dtype) not in ("f32", "f64") or first.shape[:key.ndim - 1] != key.shape[:-1]:
            raise ValueError(f"{op_name}: parameters must be float with the first axes of the keys {key}, "
                             f"got {first}")
        return first.shape, first.dtype

    def lower(ctx, eqn, views):
        key, *params = [ctx.contiguous(v) for v in views]
        out = ctx.new(eqn.outs[0].aval)
        keys = _size(key.shape) // 2
        n = _size(out.shape) // max(keys, 1)
        ctx.step(f"sampler:{name}:{CODE[out.dtype]}", [out, key, *params], (keys, n),
                 strides=[(8, 8)] * (2 + count))
        return [out]

    def batch(size, operands, dims):
        op = Hooks.bind(record[0], tuple([batch_first(size, x, d)
                                          for x, d in zip(operands, dims, strict=True)]), {})
        return [op], [0]

    record = [Op(op_name, "sampler", infer=infer, lower=lower, batch=batch, transpose=None, jvp=jvp or (
        lambda primals, tangents: _flat(record[0], primals)))]
    return record[0]


def _flat(op, primals):
    out = Hooks.bind(op, tuple(primals), {})
    return [out], [Hooks.zero(aval_of(out))]


def _gamma_jvp(log_space):
    def jvp(primals, tangents):
        """How a draw moves with the shape: implicit reparameterisation, see kernels/specfun.h."""
        key, a = primals
        out = (random_loggamma if log_space else random_gamma)(key, a)
        t = tangents[1]
        if isinstance(t, Hooks.zero):
            return [out], [Hooks.zero(aval_of(out))]
        if log_space:
            return [out], [zmul(t, gamma_slope(a, out))]
        lx = log(out)
        return [out], [zmul(zmul(t, out), gamma_slope(a, lx))]
    return jvp


random_gamma = _sampler("gamma", 1, _gamma_jvp(False))
random_loggamma = _sampler("loggamma", 1, _gamma_jvp(True))
random_poisson = _sampler("poisson", 1)
random_binomial = _sampler("binomial", 2)

__all__ = ["random_binomial", "random_draw", "random_gamma", "random_loggamma", "random_poisson",
           "reference_threefry", "threefry"]
