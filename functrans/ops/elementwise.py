"""Elementwise ops: one record each, with the C expression that its kernels are generated from.

``x, y, z`` are the operands in type ``T``; the ``ft_`` functions are type-generic and live in
``kernels/vmath.h`` (float) and ``kernels/scalar.h`` (integers, comparisons, wrapping).
Derivatives at kinks: abs 0; max and min share ties; x**0 is flat; see docs.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import (
    ANY,
    BITS,
    CODE,
    COMPLEX,
    INEXACT,
    INT,
    NUMBER,
    OPS,
    ORDERED,
    PART,
    REAL,
    WHOLE,
    Hooks,
    Linear,
    _elementwise_batch,
    aval_of,
    elementwise,
)
from ..ir.op import Elementwise as _Elementwise
from . import algebra
from .kinks import flat_at_zero, flat_power
from .reach import choice, factors


def _both(text):
    """The expression of floats, and that of complex numbers: their functions have a c in the name."""
    return {"float": text, "complex": text.replace("ft_", "ft_c")}


def _analytic(name, **rest):
    """A function of one operand that complex numbers have too, with the same derivative."""
    return elementwise(name, c=_both(f"ft_{name}(x)"), dtypes=INEXACT, **rest)


def _order(sign):
    """A comparison; of complex numbers by real part, then by imaginary part, as NumPy has it."""
    return {**dict.fromkeys(("float", "int", "bool"), f"x {sign} y"),
            "complex": f"ft_corder(x, y, {sign})"}


# ----- arithmetic ---------------------------------------------------------------------------------

neg = elementwise("neg", c={"float": "-x", "complex": "-x", "int": "ft_wrap(-(ft_unsigned)x)"},
                  dtypes=NUMBER, through=[lambda t, x: neg(t)], joint=True, simplify=algebra.negated,
                  reference=np.negative)
add = elementwise("add", c={"float": "x + y", "complex": "x + y",
                            "int": "ft_wrap((ft_unsigned)x + (ft_unsigned)y)",
                            "bool": "x | y"},
                  arity=2, dtypes=ANY, joint=True, reference=np.add, simplify=algebra.plus, commutes=True,
                  through=[lambda t, x, y: t, lambda t, x, y: t])
sub = elementwise("sub", c={"float": "x - y", "complex": "x - y",
                            "int": "ft_wrap((ft_unsigned)x - (ft_unsigned)y)"},
                  arity=2, dtypes=NUMBER, joint=True, reference=np.subtract, simplify=algebra.minus,
                  through=[lambda t, x, y: t, lambda t, x, y: neg(t)])
mul = elementwise("mul", c={"float": "x * y", "complex": "ft_cmul(x, y)",
                            "int": "ft_wrap((ft_unsigned)x * (ft_unsigned)y)",
                            "bool": "x & y"},
                  arity=2, dtypes=ANY, reference=np.multiply, simplify=algebra.times, commutes=True,
                  reach=factors,
                  through=[lambda t, x, y: zmul(t, y), lambda t, x, y: zmul(x, t)],
                  transpose=lambda cts, operands: [     # of a product that is linear as it is written
                      mul(cts[0], o) if isinstance(x, Linear) else None
                      for x, o in zip(operands, reversed(operands), strict=True)])
# The strong-zero product: 0 wins over inf and nan. Its own tangents stay strong.
zmul = elementwise("zmul", c={"float": "((x == 0) | (y == 0)) ? (T)0 : x * y",
                              "complex": "(x == 0 || y == 0) ? (T)0 : ft_cmul(x, y)"},
                   arity=2, dtypes=INEXACT,
                   simplify=algebra.strong_times, commutes=True, reach=factors,
                   reference=lambda x, y: np.where((x == 0) | (y == 0), 0, x * y).astype(x.dtype),
                   through=[lambda t, x, y: zmul(t, y), lambda t, x, y: zmul(x, t)])
div = elementwise("div", c={"float": "x / y", "complex": "ft_cdiv(x, y)"}, arity=2, dtypes=INEXACT,
                  reference=np.divide, simplify=algebra.divided, domain=((-3.0, 3.0), (0.5, 3.0)),
                  jvp=lambda primals, tangents: _div_jvp(primals, tangents),
                  through=[lambda t, x, y: div(t, y), None],
                  transpose=lambda cts, operands: [
                      div(cts[0], operands[1]) if isinstance(operands[0], Linear) else None, None])


def _div_jvp(primals, tangents):
    x, y = primals
    tx, ty = tangents
    out = div(x, y)
    total = Hooks.zero(aval_of(out))
    moves = not isinstance(tx, Hooks.zero)
    if moves:                                # times 1/y, so that a zero tangent stays zero at y = 0
        inverse = div(1.0, y)
        total = Hooks.add_tangents(total, zmul(tx, inverse))
    if not isinstance(ty, Hooks.zero):
        slope = mul(out, inverse) if moves else div(out, y)
        total = Hooks.add_tangents(total, zmul(ty, neg(slope)))
    return [out], [total]


floordiv = elementwise("floordiv", c={"float": "ft_floordiv(x, y)", "int": "ft_ifloordiv(x, y)"},
                       arity=2, dtypes=REAL, reference=np.floor_divide,
                       domain=((-9.0, 9.0), (0.7, 3.0)))
mod = elementwise("mod", c={"float": "ft_mod(x, y)", "int": "ft_imod(x, y)"}, arity=2, dtypes=REAL,
                  reference=np.remainder, domain=((-9.0, 9.0), (0.7, 3.0)),
                  partials=[1, lambda out, x, y: neg(floordiv(x, y))])
fmod = elementwise("fmod", c={"float": "ft_fmod(x, y)", "int": "ft_ifmod(x, y)"}, arity=2,
                   dtypes=REAL, reference=np.fmod, domain=((-9.0, 9.0), (0.7, 3.0)),
                   partials=[1, lambda out, x, y: neg(trunc(div(x, y)))])
abs = elementwise("abs", c={"float": "ft_abs(x)", "signed": "x < 0 ? ft_wrap(-(ft_unsigned)x) : x",
                            "unsigned": "x", "complex": "ft_cabs(x)"},
                  dtypes=NUMBER, out=PART, reference=np.abs, simplify=algebra.absolute,
                  jvp=lambda primals, tangents: _abs_jvp(*primals, *tangents))
sign = elementwise("sign", c={"float": "x != x ? x : (T)((x > 0) - (x < 0))",
                              "int": "(T)((x > 0) - (x < 0))", "complex": "ft_csign(x)"},
                   dtypes=NUMBER, reference=np.sign,
                   jvp=lambda primals, tangents: _sign_jvp(*primals, *tangents))


def _abs_jvp(x, t):
    out = abs(x)
    if isinstance(t, Hooks.zero):
        return [out], [Hooks.zero(aval_of(out))]
    if aval_of(x).dtype.kind == "c":
        return [out], [real(zmul(t, conj(sign(x))))]
    return [out], [zmul(t, sign(x))]


def _sign_jvp(x, t):
    """Flat where x is real. Of x / |x| only what turns x changes it: i s Im(conj(s) t) / |x|."""
    s = sign(x)
    if isinstance(t, Hooks.zero) or aval_of(x).dtype.kind != "c":
        return [s], [Hooks.zero(aval_of(s))]
    turn = imag(zmul(t, conj(s)))
    return [s], [zmul(complex_(0.0, zmul(turn, _safe_div(1.0, abs(x)))), s)]


floor = elementwise("floor", c="ft_floor(x)", reference=np.floor)
ceil = elementwise("ceil", c="ft_ceil(x)", reference=np.ceil)
trunc = elementwise("trunc", c="ft_trunc(x)", reference=np.trunc)
rint = _analytic("rint", reference=np.rint, partials=None)
copysign = elementwise("copysign", c="ft_copysign(x, y)", arity=2, reference=np.copysign,
                       partials=[lambda out, x, y: mul(sign(x), copysign(1.0, y)), None])
nextafter = elementwise("nextafter", c="ft_nextafter(x, y)", dtypes=("f32", "f64"), arity=2,
                        reference=np.nextafter, partials=[1, None])
heaviside = elementwise("heaviside", c="x != x ? x : x == 0 ? y : (T)(x > 0)", arity=2,
                        reference=np.heaviside,
                        partials=[None, lambda out, x, y: convert(eq(x, 0.0), dtype=aval_of(x).dtype)])

# ----- powers, exponentials, logarithms ---------------------------------------------------------------

sqrt = _analytic("sqrt", reference=np.sqrt, domain=(0.1, 4.0),
                   partials=[lambda out, x: div(0.5, flat_at_zero(out))])
cbrt = elementwise("cbrt", c="ft_cbrt(x)", reference=np.cbrt, domain=(0.2, 4.0),
                   partials=[lambda out, x: div(1.0 / 3.0, flat_at_zero(mul(out, out)))])
exp = _analytic("exp", reference=np.exp, partials=[lambda out, x: out])
exp2 = _analytic("exp2", reference=np.exp2,
                   partials=[lambda out, x: mul(out, math.log(2.0))])
expm1 = _analytic("expm1", reference=lambda x: _expm1_reference(x),
                    partials=[lambda out, x: add(out, 1.0)])


def _expm1_reference(x):
    """NumPy's; of complex infinities what C99 and the array API have, where NumPy has nan."""
    y = np.expm1(x)
    return y if x.dtype.kind != "c" else np.where(np.isfinite(y), y, np.exp(x) - 1)


log = _analytic("log", reference=np.log, domain=(0.1, 4.0),
                  partials=[lambda out, x: div(1.0, x)])
log2 = _analytic("log2", reference=np.log2, domain=(0.1, 4.0),
                   partials=[lambda out, x: div(1.0 / math.log(2.0), x)])
log10 = _analytic("log10", reference=np.log10, domain=(0.1, 4.0),
                    partials=[lambda out, x: div(1.0 / math.log(10.0), x)])
log1p = _analytic("log1p", reference=np.log1p, domain=(-0.5, 4.0),
                    partials=[lambda out, x: div(1.0, add(x, 1.0))])
logistic = elementwise("logistic", c="ft_logistic(x)",
                       reference=lambda x: (1 / (1 + np.exp(-x))).astype(x.dtype),
                       partials=[lambda out, x: mul(out, logistic(neg(x)))])
logaddexp = elementwise("logaddexp", c="ft_logaddexp(x, y)", arity=2, reference=np.logaddexp,
                        partials=[lambda out, x, y: softmax_of_two(x, y),
                                  lambda out, x, y: softmax_of_two(y, x)])
pow = elementwise("pow", c={"float": "ft_pow(x, y)", "int": "ft_ipow(x, y)",
                            "complex": "ft_cpow(x, y)"},
                  arity=2, dtypes=NUMBER, reference=np.power, domain=((0.2, 3.0), (0.0, 3.0)),
                  # 0**y and x**0 are flat where the formula would give 0 * inf
                  partials=[lambda out, x, y: select(flat_power(out, y), 0.0, mul(y, pow(x, sub(y, 1.0)))),
                            lambda out, x, y: zmul(out, log(select(eq(x, 0.0), 1.0, x)))])


def softmax_of_two(x, y):
    """exp(x) / (exp(x) + exp(y)): 1/2 where both are -inf or inf, as at any tie."""
    difference = sub(x, y)      # also at finite ties, where its derivatives count
    return logistic(select(OPS["isfinite"](x), difference, select(eq(x, y), 0.0, difference)))


def _integer_pow_infer(x, *, y):
    if CODE.get(x.dtype) not in NUMBER:
        raise TypeError(f"integer_pow is not defined for {x.dtype}")
    if y < 0 and CODE[x.dtype] in INT:
        raise ValueError(f"integers to the negative power {y} are not integers; convert to float")
    return x.shape, x.dtype


integer_pow = elementwise(
    "integer_pow", c={"float": "ft_powi(x, k)", "int": "ft_ipowi(x, k)", "complex": "ft_cpowi(x, k)"},
    dtypes=NUMBER,
    infer=_integer_pow_infer,
    simplify=algebra.power,
    reference=lambda x, *, y: x ** y, domain=(0.5, 2.0),
    partials=[lambda out, x, *, y: 0.0 if y == 0 else _scaled_power(x, y)])


def _scaled_power(x, y):
    if y == 1:
        return Hooks.lit_like(1.0, x)
    return mul(x if y == 2 else integer_pow(x, y=y - 1), float(y))


# ----- trigonometric, hyperbolic, error function ---------------------------------------------------------

sin = _analytic("sin", reference=np.sin, partials=[lambda out, x: cos(x)])
cos = _analytic("cos", reference=np.cos, partials=[lambda out, x: neg(sin(x))])
tan = _analytic("tan", reference=np.tan, domain=(-1.2, 1.2),
                  partials=[lambda out, x: add(mul(out, out), 1.0)])
asin = _analytic("asin", reference=np.arcsin, domain=(-0.9, 0.9),
                   partials=[lambda out, x: div(1.0, sqrt(_one_minus_square(x)))])
acos = _analytic("acos", reference=np.arccos, domain=(-0.9, 0.9),
                   partials=[lambda out, x: div(-1.0, sqrt(_one_minus_square(x)))])
atan = _analytic("atan", reference=np.arctan,
                   partials=[lambda out, x: div(1.0, add(mul(x, x), 1.0))])
sinh = _analytic("sinh", reference=np.sinh, partials=[lambda out, x: cosh(x)])
cosh = _analytic("cosh", reference=np.cosh, partials=[lambda out, x: sinh(x)])
tanh = _analytic("tanh", reference=np.tanh,
                   partials=[lambda out, x: _one_minus_square(out)])
asinh = _analytic("asinh", reference=np.arcsinh,
                    partials=[lambda out, x: div(1.0, sqrt(add(mul(x, x), 1.0)))])
acosh = _analytic("acosh", reference=np.arccosh, domain=(1.2, 4.0),
                    partials=[lambda out, x: div(1.0, mul(sqrt(sub(x, 1.0)), sqrt(add(x, 1.0))))])
atanh = _analytic("atanh", reference=np.arctanh, domain=(-0.9, 0.9),
                    partials=[lambda out, x: div(1.0, _one_minus_square(x))])
atan2 = elementwise("atan2", c="ft_atan2(x, y)", arity=2, reference=np.arctan2, domain=(0.3, 3.0),
                    partials=[lambda out, x, y: _over_square(y, x, y),
                              lambda out, x, y: neg(_over_square(x, x, y))])
hypot = elementwise("hypot", c="ft_hypot(x, y)", arity=2, reference=np.hypot, domain=(0.3, 3.0),
                    partials=[lambda out, x, y: _safe_div(x, out),
                              lambda out, x, y: _safe_div(y, out)])
erf = elementwise("erf", c="ft_erf(x)", reference=lambda x: _by_math(math.erf, x),
                  partials=[lambda out, x: mul(exp(neg(mul(x, x))), 2.0 / math.sqrt(math.pi))])
erfc = elementwise("erfc", c="ft_erfc(x)", reference=lambda x: _by_math(math.erfc, x),
                   partials=[lambda out, x: mul(exp(neg(mul(x, x))), -2.0 / math.sqrt(math.pi))])
# The inverse of erf: its slope there is 1 / erf'(erf_inv(x)).
erf_inv = elementwise("erf_inv", c="ft_erf_inv(x)", domain=(-0.95, 0.95), ns=1.5,
                      reference=lambda x: _erf_inv_reference(x),
                      partials=[lambda out, x: mul(exp(mul(out, out)), math.sqrt(math.pi) / 2.0)])


def _erf_inv_reference(x):
    from scipy.special import erfinv
    return np.copysign(erfinv(x.astype(np.float64)), x).astype(x.dtype)      # SciPy drops the sign of 0


def _gamma_slope_jvp(primals, tangents):
    if not all(isinstance(t, Hooks.zero) for t in tangents):
        raise NonDifferentiableError(
            "the second derivative of a gamma draw (also of beta, dirichlet, chisquare, t and f) by its "
            "shape has no rule.", "Put functrans.stop_gradient around the shape, or around the draw.")
    out = gamma_slope(*primals)
    return [out], [Hooks.zero(aval_of(out))]


# How the logarithm y of a gamma draw moves with the shape x, its place in the distribution kept.
gamma_slope = elementwise("gamma_slope", c="(T)ft_gamma_slope((double)x, (double)y)", arity=2, ns=300.0,
                          domain=((0.5, 3.0), (-1.0, 1.5)), jvp=_gamma_slope_jvp,
                          reference=lambda a, lx: _gamma_slope_reference(a, lx))


def _gamma_slope_reference(a, lx):
    """By differences of the quantile function in a."""
    from scipy.special import gammainc, gammaincinv
    a, x = np.asarray(a, np.float64), np.exp(np.asarray(lx, np.float64))
    p, h = gammainc(a, x), 1e-5 * a
    return ((gammaincinv(a + h, p) - gammaincinv(a - h, p)) / (2 * h * x)).astype(np.asarray(lx).dtype)


def _one_minus_square(x):
    return mul(sub(1.0, x), add(x, 1.0))


def _safe_div(x, y):
    """x / y, and 0 where y is 0."""
    zero = eq(y, 0.0)
    return select(zero, 0.0, div(x, select(zero, 1.0, y)))


def _over_square(v, x, y):
    return _safe_div(v, add(mul(x, x), mul(y, y)))


def _by_math(f, x):
    return np.array([f(float(v)) for v in np.ravel(x)], x.dtype).reshape(np.shape(x))


# ----- maxima, comparisons, bits, selection ---------------------------------------------------------------


# The local derivative of a maximum: 1 where x is taken, 1/2 at a tie.
share = elementwise("share", c="x > y ? (T)1 : x == y ? (T)0.5 : (T)0", arity=2,
                    reference=lambda x, y: ((x > y) + 0.5 * (x == y)).astype(x.dtype))
max = elementwise("max", c={"float": "ft_max(x, y)", "int": "x > y ? x : y", "bool": "x | y"},
                  arity=2, dtypes=ORDERED, reference=np.maximum, simplify=algebra.same,
                  partials=[lambda out, x, y: share(x, y), lambda out, x, y: share(y, x)])
min = elementwise("min", c={"float": "ft_min(x, y)", "int": "x < y ? x : y", "bool": "x & y"},
                  arity=2, dtypes=ORDERED, reference=np.minimum, simplify=algebra.same,
                  partials=[lambda out, x, y: share(y, x), lambda out, x, y: share(x, y)])
fmax = elementwise("fmax", c="ft_fmax(x, y)", arity=2, reference=np.fmax,
                   partials=[lambda out, x, y: select(isnan(y), 1.0, share(x, y)),
                             lambda out, x, y: select(isnan(x), 1.0, share(y, x))])
fmin = elementwise("fmin", c="ft_fmin(x, y)", arity=2, reference=np.fmin,
                   partials=[lambda out, x, y: select(isnan(y), 1.0, share(y, x)),
                             lambda out, x, y: select(isnan(x), 1.0, share(x, y))])

eq = elementwise("eq", c="x == y", arity=2, dtypes=ANY, out="b1", reference=np.equal, commutes=True)
ne = elementwise("ne", c="x != y", arity=2, dtypes=ANY, out="b1", reference=np.not_equal, commutes=True)
lt = elementwise("lt", c=_order("<"), arity=2, dtypes=ANY, out="b1", reference=np.less)
le = elementwise("le", c=_order("<="), arity=2, dtypes=ANY, out="b1", reference=np.less_equal)
gt = elementwise("gt", c=_order(">"), arity=2, dtypes=ANY, out="b1", reference=np.greater)
ge = elementwise("ge", c=_order(">="), arity=2, dtypes=ANY, out="b1", reference=np.greater_equal)
isnan = elementwise("isnan", c="x != x", dtypes=INEXACT, out="b1", reference=np.isnan)
isinf = elementwise("isinf", c=_both("ft_isinf(x)"), dtypes=INEXACT, out="b1", reference=np.isinf)
isfinite = elementwise("isfinite", c=_both("ft_isfinite(x)"), dtypes=INEXACT, out="b1", reference=np.isfinite)
signbit = elementwise("signbit", c="ft_signbit(x)", out="b1", reference=np.signbit)

not_ = elementwise("not", c={"bool": "!x", "int": "(T)~x"}, dtypes=BITS, reference=np.invert,
                   simplify=algebra.undone("not"))
and_ = elementwise("and", c="(T)(x & y)", arity=2, dtypes=BITS, reference=np.bitwise_and,
                   simplify=algebra.same, commutes=True)
or_ = elementwise("or", c="(T)(x | y)", arity=2, dtypes=BITS, reference=np.bitwise_or,
                  simplify=algebra.same, commutes=True)
xor = elementwise("xor", c="(T)(x ^ y)", arity=2, dtypes=BITS, reference=np.bitwise_xor,
                  commutes=True)
# NumPy's values for counts beyond the width: 0, and the sign for a right shift of a negative number
shl = elementwise("shl", c="ft_shl(x, y)", arity=2, dtypes=INT, reference=np.left_shift,
                  domain=((-9, 9), (0, 5)))
shr = elementwise("shr", c="ft_shr(x, y)", arity=2, dtypes=INT, reference=np.right_shift,
                  domain=((-9, 9), (0, 5)))

gcd = elementwise("gcd", c="ft_igcd(x, y)", arity=2, dtypes=INT, ns=20.0, reference=np.gcd)
lcm = elementwise("lcm", c="ft_ilcm(x, y)", arity=2, dtypes=INT, ns=20.0, reference=np.lcm)
population_count = elementwise("population_count", c="ft_ones(x)", dtypes=INT,
                               reference=lambda x: np.bitwise_count(_raw(x)).astype(x.dtype))
clz = elementwise("clz", c="ft_leading(x)", dtypes=INT, reference=lambda x: np.array(
    [8 * x.dtype.itemsize - int(v).bit_length() for v in _raw(x).ravel()], x.dtype).reshape(x.shape))


def _raw(x):
    """The bits of signed integers as unsigned ones."""
    return np.asarray(x).view(f"u{x.dtype.itemsize}")


select = elementwise("select", c="x ? y : z", arity=3, dtypes=ANY, select=True, joint=True,
                     simplify=algebra.chosen,
                     reach=choice, reference=lambda c, a, b: np.where(c, a, b),
                     through=[None,
                              lambda t, c, a, b: select(c, t, 0),
                              lambda t, c, a, b: select(c, 0, t)])
stop_gradient = elementwise("stop_gradient", c="x", dtypes=ANY, reference=np.copy, work=None,
                            simplify=lambda inputs, params, program: inputs[0] if program.final else None)


# ----- parts of complex numbers ---------------------------------------------------------------------------
# Cotangents pair with tangents as Re(sum(ct * t)), without conjugation: so the gradient of a real
# function is df/dx - i df/dy, and rules of holomorphic functions are those of real ones.

real = elementwise("real", c="ft_real(x)", dtypes=COMPLEX, out=PART, reference=np.real,
                   through=[lambda t, x: real(t)], joint=True,
                   transpose=lambda cts, operands: [complex_(cts[0], 0.0)])
imag = elementwise("imag", c="ft_imag(x)", dtypes=COMPLEX, out=PART, reference=np.imag,
                   through=[lambda t, x: imag(t)], joint=True,
                   transpose=lambda cts, operands: [complex_(0.0, neg(cts[0]))])
conj = elementwise("conj", c="ft_conj(x)", dtypes=COMPLEX, reference=np.conj,
                   through=[lambda t, x: conj(t)], joint=True)
complex_ = elementwise(
    "complex", c="ft_complex(x, y)", arity=2, dtypes=("f32", "f64"), out=WHOLE, joint=True,
    reference=lambda x, y: _join(x, y),
    through=[lambda t, x, y: complex_(t, 0.0), lambda t, x, y: complex_(0.0, t)],
    transpose=lambda cts, operands: [real(cts[0]), neg(imag(cts[0]))])


def _join(x, y):
    out = np.empty(np.shape(x), np.result_type(x, np.complex64))
    out.real, out.imag = x, y
    return out


# ----- conversion -----------------------------------------------------------------------------------------


def _convert_infer(x, *, dtype):
    if x.dtype not in CODE or dtype not in CODE:
        raise TypeError(f"cannot convert {x} to {dtype}")
    return x.shape, dtype


def _convert_jvp(primals, tangents, *, dtype):
    out = convert(primals[0], dtype=dtype)
    t = tangents[0]
    if isinstance(t, Hooks.zero) or dtype.kind not in "fc":
        return [out], [Hooks.zero(aval_of(out))]
    return [out], [convert(t, dtype=dtype)]


def _convert_reference(x, *, dtype):
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.kind not in "bc":
        x = x.real
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        return x.astype(dtype)
    info = np.iinfo(dtype)
    low, high = x <= info.min, x >= info.max
    inside = np.where(low | high | np.isnan(x), 0, x).astype(dtype)
    return np.where(low, dtype.type(info.min), np.where(high, dtype.type(info.max), inside))


# C conversion but for float to integer, which saturates (nan to 0) instead of being undefined.
convert = _Elementwise(
    "convert", "elementwise", c="ft_convert(T, U, x)", dtypes=ANY, arity=1, infer=_convert_infer,
    jvp=_convert_jvp, batch=_elementwise_batch("convert"), lower="elementwise", linear_in=(0,),
    domain=(-3.0, 3.0),
    transpose=lambda cts, operands, *, dtype: [convert(cts[0], dtype=operands[0].aval.dtype)],
    reference=_convert_reference,
    simplify=algebra.converted)

__all__ = [name for name, value in list(globals().items()) if isinstance(value, _Elementwise)]
