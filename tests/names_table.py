"""Calls each of functrans.numpy's functions in each mode, and writes what was found to docs/numpy.md.

``python tests/names_table.py`` writes the page; ``test_names_table.py`` compares it. A call is written once,
as text, with operands from ``operands``; that it is right in a mode means:

jit: the values, dtypes and shapes of NumPy; jvp: central differences; vjp: <u, J t> = <J' u, t> with jvp's
J t; vmap: row by row the same as calls; dtypes: jit as NumPy for operands of this dtype, where NumPy has it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import warnings
from pathlib import Path

import numpy as np

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.numpy import refused

PAGE = Path(__file__).resolve().parents[1] / "docs" / "numpy.md"

# call: names. x, y: vectors; u: within (0, 1); w: more than 1; m: square; s: positive definite; a: 3 by 4;
# i, j: integers; b: bools
CALLS = {"numpy": """
f(x): abs absolute fabs sign negative positive square cbrt exp exp2 expm1 sin cos tan arctan atan sinh
    cosh tanh
    arcsinh asinh rint floor ceil trunc fix deg2rad rad2deg degrees radians conj conjugate real imag
    angle
    iscomplex isreal iscomplexobj isrealobj isfinite isinf isnan isposinf isneginf signbit logical_not
    nan_to_num copy asarray asanyarray array ascontiguousarray asfortranarray asarray_chkfinite
    cumsum cumprod nancumsum nancumprod cumulative_sum cumulative_prod sort argsort sort_complex
    unique_values
    unique unique_all unique_counts unique_inverse nonzero argwhere flatnonzero ediff1d diff gradient
    trapezoid
    unwrap poly roots polyder polyint cov corrcoef vander atleast_1d atleast_2d atleast_3d ravel squeeze
    flip
    flipud diagflat zeros_like ones_like shape ndim size trim_zeros real_if_close min_scalar_type
    common_type array_repr array_str array2string isscalar iterable isfortran require spacing frexp modf
    i0 sinc
    unstack histogram histogram_bin_edges
f(u): sqrt log log2 log10 log1p arcsin asin arccos acos arctanh atanh
f(w): arccosh acosh reciprocal
f(m): sum prod max min amax amin mean std var ptp median all any argmax argmin count_nonzero nansum
    nanprod
    nanmax nanmin nanmean nanstd nanvar nanmedian nanargmax nanargmin average transpose permute_dims
    matrix_transpose fliplr rot90 diag diagonal trace tril triu tril_indices_from triu_indices_from
    diag_indices_from
f(x, y): add subtract multiply divide true_divide maximum minimum fmax fmin arctan2 atan2 hypot logaddexp
    logaddexp2 copysign nextafter heaviside fmod remainder mod floor_divide divmod equal not_equal less
    less_equal
    greater greater_equal logical_and logical_or logical_xor outer inner dot vdot vecdot kron isclose
    allclose
    array_equal array_equiv append intersect1d setdiff1d setxor1d union1d isin polyadd polysub polymul
    polydiv
    convolve correlate histogram2d shares_memory may_share_memory broadcast_arrays meshgrid result_type
f(i): invert bitwise_not bitwise_invert bitwise_count bincount
f(i, j): bitwise_and bitwise_or bitwise_xor left_shift right_shift bitwise_left_shift bitwise_right_shift
    gcd lcm
f(x, i): ldexp
f(u, y): power pow float_power
f(m, s): matmul tensordot
f(m, x[:3]): matvec
f(x[:3], m): vecmat
f(x[:3], y[:3]): cross
f(x, a): polyval
f(x, 2): partition argpartition repeat roll tile array_split split
f(x, 0.3): quantile nanquantile
f(x, 30): percentile nanpercentile
f(x, 7): resize
f(b): packbits
f(i.astype(np.uint8)): unpackbits
f(x, np.complex128): astype
f(x, "f8"): can_cast
f(a, (4, 3)): reshape
f(x, (2, 4)): broadcast_to
f(x, 1): pad expand_dims delete
f(x, 1, 9.0): insert
f(a, 0, 1): moveaxis swapaxes
f(a, 1): rollaxis
f([x, y]): concatenate concat stack hstack vstack dstack column_stack row_stack lexsort
f([[a, m], [m, a]]): block
f(a, [1]): hsplit vsplit
f(a[None], 2): dsplit
f(x, [1, 0, 3]): take
f(i % 2, [x, y]): choose
f(a, j[:3, None] % 4, 1): take_along_axis
f([True, False, True], a, 0): compress
f(b, x): extract
f(b, x, y): where
f([b, x > 0], [x, y]): select
f(x, -1.0, 0.5): clip
f(x, 1): around round
f(x, [x < 0], [np.sin, np.cos]): piecewise
f(np.cumsum, 0, a): apply_along_axis
f(np.sum, a, [0]): apply_over_axes
f(lambda v: v * v)(x): vectorize
f("ij,kj->ik", a, m[:, :1] * a): einsum
f("i,i", x, y): einsum_path
f(x, y, 5): linspace logspace
f(u, w, 5): geomspace
f((3,), x[0]): full
f(x, y[0]): full_like
f(np.sort(u), y): searchsorted
f(y, np.sort(u)): digitize
f(u, np.array([0, 0.5, 1.0]), x[:3]): interp
f(np.stack([x, y], 1), 3): histogramdd
f(x, y, 1): polyfit
f(5, u[0]): kaiser
f((i, j), (8, 8)): ravel_multi_index
f(i, (4, 2)): unravel_index
""", "numpy.linalg": """
f(m + 1j * s): eig eigvals
f(m): det inv matrix_norm matrix_rank matrix_transpose norm pinv qr slogdet svd svdvals trace diagonal
    cond vector_norm
f(m @ m.T + np.eye(3)): cholesky eigh eigvalsh
f(m, s): matmul tensordot
f(m, x[:3]): solve
f(m, 3): matrix_power
f([m, s, m]): multi_dot
f(x, y): outer vecdot
f(x[:3], y[:3]): cross
f(a.T, x): lstsq
f(m, x[:3]): tensorsolve
f(m, 1): tensorinv
""", "numpy.fft": """
f(x): fft ifft rfft irfft hfft ihfft fftshift ifftshift
f(a): fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn
"""}
OPERANDS = dict.fromkeys("xyuwmsa", "f") | {"i": "i", "j": "i", "b": "b"}
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
          "float32", "float64", "complex64", "complex128"]
# (name, mode or dtype): what is not as in NumPy, and why
GAPS = {
    **{(f, d): "complex results stay complex" for f in ("poly", "linalg.eigvals") for d in DTYPES[-2:]},
    **{("roots", d): "complex results stay complex" for d in DTYPES[:9]},
    **{("real_if_close", d): "values must be known" for d in DTYPES[-2:]},
    **{(f, d): "complex numbers have no bins" for d in DTYPES[-2:]
       for f in ("histogram", "histogram2d", "histogramdd", "histogram_bin_edges")},
    ("polymul", "bool"): "leading zeros stay",
    ("polydiv", "bool"): "division by zero keeps the length of the remainder",
}


def operands(row: int = 0) -> dict[str, np.ndarray]:
    r = np.random.default_rng(row + 3)
    m = r.normal(size=(3, 3)) + 2 * np.eye(3)
    return {"x": r.normal(size=4) * 2, "y": r.normal(size=4) * 2, "u": r.uniform(0.1, 0.9, 4),
            "w": r.uniform(1.2, 3.0, 4), "m": m, "s": m @ m.T + np.eye(3), "a": r.normal(size=(3, 4)),
            "i": r.integers(0, 8, 4), "j": r.integers(0, 4, 4), "b": r.random(4) < 0.6}


def cases() -> dict[str, tuple[str, str]]:
    """name: (module, call)"""
    found = {}
    for module, text in CALLS.items():
        call = ""
        for line in text.splitlines():
            if line and not line.startswith(" "):
                call, _, line = line.rpartition(": ")
            for name in line.split():
                home = getattr(fnp, module.removeprefix("numpy."), None) if "." in module else fnp
                if hasattr(home, name):
                    found[f"{module}.{name}".removeprefix("numpy.")] = module, call
    return found


def numeric(out, texts=None):
    """The arrays and numbers of a result as a list; what is neither is put into ``texts``."""
    if isinstance(out, (tuple, list)):
        return [leaf for part in out for leaf in numeric(part, texts)]
    if isinstance(out, (np.ndarray, np.generic, bool, int, float, complex)) or hasattr(out, "aval"):
        return [out]
    if texts is not None:
        texts.append(str(out))
    return []


def close(got, want, tol):
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    scale = np.max(np.abs(want[np.isfinite(want)]), initial=1.0)
    return np.allclose(got, want, rtol=tol, atol=tol * scale, equal_nan=True)


def all_close(got, want, tol):
    return len(got) == len(want) and all(close(g, w, tol) for g, w in zip(got, want, strict=True))


def call_of(function, call):
    """The call as a function of the operands that it names, and their names."""
    bare = re.sub(r'"[^"]*"', "", call)
    names = [n for n in OPERANDS if re.search(rf"\b{n}\b", bare)]
    code = compile(call, call, "eval")

    def g(*args):
        return eval(code, {"f": function, "np": np, **dict(zip(names, args, strict=True))})
    return g, names


def quiet(function, *args):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*args)


def attempt(function):
    """None, or why the mode is not given: a reason, or the error."""
    try:
        return None if quiet(function) else "WRONG"
    except errors.ConcretizationError:
        return "known values"
    except errors.FunctransError as e:
        return f"{type(e).__name__}: {e.got}"
    except Exception as e:
        return f"{type(e).__name__}: {e}"


class Check:
    """One function in each mode: ``modes`` maps a mode to None (right), "none" (no derivative) or why not."""

    def __init__(self, name, module, call):
        home = {"numpy": fnp, "numpy.linalg": fnp.linalg, "numpy.fft": getattr(fnp, "fft", None)}[module]
        self.name, self.module, self.call = name, module, call
        self.f = getattr(home, name.rpartition(".")[2])
        self.g, self.names = call_of(self.f, call)
        self.kinds = [OPERANDS[n] for n in self.names]
        self.args = [operands()[n] for n in self.names]
        texts: list[str] = []
        self.want = quiet(lambda: numeric(self.g(*self.args), texts))
        self.floats = [i for i, w in enumerate(self.want) if np.asarray(w).dtype.kind in "fc"]
        smooth = self.floats and "f" in self.kinds
        self.modes = {"jit": attempt(self.jit), "jvp": attempt(self.jvp) if smooth else "none"}
        self.modes["vjp"] = attempt(self.vjp) if smooth and self.modes["jvp"] is None else self.modes["jvp"]
        self.modes["vmap"] = attempt(self.vmap)
        self.right, self.gaps = self.dtypes()

    def leaves(self, *args):
        return numeric(self.g(*args))

    def smooth(self, *args):
        """The float results as a function of the float operands."""
        given = iter(args)
        out = self.leaves(*[next(given) if k == "f" else x
                            for k, x in zip(self.kinds, self.args, strict=True)])
        return [out[i] for i in self.floats]

    def jit(self):
        return all_close(ft.jit(self.leaves)(*self.args), self.want, 1e-9)

    def vmap(self):
        rows = [[operands(row)[n] for n in self.names] for row in (0, 1)]
        want = [self.leaves(*row) for row in rows]
        if not self.names or any(np.shape(p) != np.shape(q) for p, q in zip(*want, strict=True)):
            raise errors.ConcretizationError("")
        got = ft.vmap(self.leaves)(*[np.stack(pair) for pair in zip(*rows, strict=True)])
        return all_close(got, [np.stack(pair) for pair in zip(*want, strict=True)], 1e-9)

    def jvp(self):
        xs = [x for k, x in zip(self.kinds, self.args, strict=True) if k == "f"]
        r = np.random.default_rng(8)
        ts = [r.normal(size=x.shape) for x in xs]
        self.along = ft.jvp(self.smooth, tuple(xs), tuple(ts))[1]
        self.directions, self.points = ts, xs
        h = 1e-6
        up, down = (self.smooth(*[x + s * h * t for x, t in zip(xs, ts, strict=True)]) for s in (1, -1))
        want = [(np.asarray(p, np.result_type(q)) - q) / (2 * h) for p, q in zip(up, down, strict=True)]
        tol = 2e-2 if any(np.asarray(w).dtype.char in "efF" for w in want) else 1e-5
        return all(np.allclose(g, w, rtol=tol, atol=tol * np.max(np.abs(w), initial=1.0))
                   for g, w in zip(self.along, want, strict=True))

    def vjp(self):
        out, back = ft.vjp(self.smooth, *self.points)
        r = np.random.default_rng(9)
        us = [np.asarray(r.normal(size=np.shape(o)) + (1j * r.normal(size=np.shape(o))
                         if np.asarray(o).dtype.kind == "c" else 0)).astype(np.asarray(o).dtype) for o in out]
        got = sum(np.sum(c * t) for c, t in zip(back(us), self.directions, strict=True))
        want = sum(np.sum(u * t).real for u, t in zip(us, self.along, strict=True))
        tol = 1e-3 if any(u.dtype.char in "efF" for u in us) else 1e-8
        return np.allclose(got, want, rtol=tol, atol=tol)

    def dtypes(self):
        """(the dtypes that are as in NumPy, those that are not)."""
        right, gaps = [], {}
        for dtype in map(np.dtype, DTYPES):
            args = []
            for kind, x in zip(self.kinds, self.args, strict=True):
                if kind == "f" and dtype.kind in "bu":
                    x = np.abs(x) if dtype.kind == "u" else x > 0
                args.append(x.astype(dtype) if kind == "f" or (kind == "i" and "f" not in self.kinds) else x)
            try:
                want = quiet(lambda args=args: self.leaves(*args))
            except Exception:
                continue            # NumPy does not have it
            least = min([dtype, *[np.asarray(w).dtype for w in want if np.asarray(w).dtype.kind in "fc"]],
                        key=lambda d: np.finfo(d).eps * -1 if d.kind in "fc" else 0)
            tol = {"e": 2e-2, "f": 2e-4, "F": 2e-4}.get(least.char, 1e-9)
            why = attempt(lambda args=args, want=want, tol=tol: all_close(
                self.run(*args), want, tol))
            if why is None:
                right.append(dtype.name)
            else:
                gaps[dtype.name] = why
        return right, gaps

    def run(self, *args):
        """Under jit, or with traced arguments whose values are known."""
        if self.modes["jit"] is None:
            return ft.jit(self.leaves)(*args)
        return ft.value_and_grad(lambda z: (z, self.leaves(*[np.where(z == z, x, x) for x in args])),
                                 has_aux=True)(1.0)[0][1]

    def mistakes(self):
        """What is neither right nor listed in GAPS."""
        name, known = self.name, self.modes["jit"] == "known values"
        modes = {m: why for m, why in self.modes.items() if why not in (None, "none", "known values")}
        if not known and self.modes["vmap"] == "known values":
            modes["vmap"] = "known values"
        dtypes = {d: why for d, why in self.gaps.items() if (name, d) not in GAPS}
        return {**modes, **dtypes}


# ----- the page -----------------------------------------------------------------------------------

HEAD = """# functrans.numpy

<!-- written by tests/names_table.py: run it when names or modes change -->

Each name of NumPy's, with the signature of NumPy 2; `numpy.f(traced)` runs the same code as
`functrans.numpy.f(traced)`. Without traced arguments the functions are NumPy's own.

What is marked was found by calling: *jit* gives NumPy's values, shapes and dtypes; *jvp* agrees with
differences, *vjp* with jvp, *vmap* with calls row by row. Without a mark, the result has no derivative
(integers, bools, shapes), or values must be known: the shape of the result depends on them, so that it works
under `grad` and `vjp`, not under `jit` and `vmap` (there, many functions take `size=`).

*dtypes* are those that NumPy takes and where results agree: of `b` bool, `i` integers of all widths,
`e` float16, `f` float32, `d` float64, `F` complex64, `D` complex128.

```python
>>> import numpy as np
>>> from functrans import grad
>>> grad(lambda x: np.cov(x))(np.array([1.0, 2.0, 6.0]))
array([-2., -1.,  3.])

```

## The array API standard

Arrays, traced or not, follow the [standard](https://data-apis.org/array-api/2024.12/) of 2024.12: functions,
parameters, dtypes, special cases of real and complex numbers, `linalg` and `fft`. `tests/test_array_api_*.py`
assert it for both; `python tests/array_api.py FOLDER` runs the standard's own suite, with `--traced` under
`jit`.
NumPy's functions, which plain arrays get, do otherwise here and there:

- `expm1` of complex infinities and of large complex numbers has nan where the standard has the parts of
  `exp`, less 1; `sign` of a complex number with an infinity and a nan is not nan; `atan` and `atanh` of
  complex numbers are odd only but for rounding. Traced arrays follow the standard.
- `floor_divide` of infinities is nan, and by infinities -1 or 0, as Python's; the standard prefers
  infinities and signed zeros, and allows this. Traced arrays follow NumPy.
- `sqrt` of complex infinities and the sign of zero in `tanh(inf + bj)` are C99's, traced or not; the
  standard's text has two lines interchanged.
- Fields of `finfo` are NumPy scalars of the dtype, not Python floats. The default `rtol` of `linalg.pinv` is
  1e-15 as in NumPy, and max(m, n) eps for `rtol=None`. `clip` promotes with bounds of other dtypes.
- Traced arrays have no memory: `reshape(copy=False)` always works, `x += y` makes a new array, and
  `functrans.at(x)[i].set(y)` is what `x[i] = y` would be. Where values decide a shape (`x[mask]`, `nonzero`,
  `unique_*`, `repeat` by an array) they must be known, or `size=` be given.

`sort`, `argsort` take `descending=`, and `finfo`, `iinfo` arrays, as in the standard, for plain arrays too.
"""
IN_PLACE = "copyto put place putmask fill_diagonal put_along_axis".split()
CLASSES = {"b": DTYPES[:1], "i": DTYPES[1:9], "e": DTYPES[9:10], "f": DTYPES[10:11], "d": DTYPES[11:12],
           "F": DTYPES[12:13], "D": DTYPES[13:14]}


def row(check: Check) -> str:
    marks = ["+" if check.modes[m] is None else "" for m in ("jit", "jvp", "vjp", "vmap")]
    dtypes = "".join(c for c, members in CLASSES.items() if set(members) <= set(check.right))
    notes = [] if check.modes["jit"] is None else ["values must be known"]
    notes += sorted({why for (name, d), why in GAPS.items() if name == check.name and d in check.gaps})
    return f"| `{check.name}` | {' | '.join(marks)} | {dtypes} | {'; '.join(notes)} |"


def listed(names) -> str:
    return textwrap.fill(", ".join(f"`{n}`" for n in sorted(names, key=str.lower)), 116,
                         break_on_hyphens=False, break_long_words=False)


def plain_names() -> list[str]:
    """Names that take no traced array: constants, types, what makes known arrays, settings."""
    called = {name for name in cases() if "." not in name}
    other = {*called, *refused.KNOWN_ONLY, *IN_PLACE}
    return [n for n in fnp.__all__ if n not in other
            and not inspect.ismodule(getattr(fnp, n))]


def page(checks: list[Check]) -> str:
    parts = [HEAD]
    for module in CALLS:
        rows = [row(c) for c in sorted(checks, key=lambda c: c.name.lower()) if c.module == module]
        parts += [f"## {module.replace('numpy', 'functrans.numpy')}", "",
                  "| name | jit | jvp | vjp | vmap | dtypes | notes |", "|" + "---|" * 7, *rows, ""]
    parts += ["## Without traced arrays", "",
              "NumPy's own: constants, dtypes, settings, and functions that make known arrays.", "",
              listed(plain_names()), "",
              "## With known values only", "", "| name | instead, for traced values |", "|---|---|",
              *[f"| `{n}` | {refused.KNOWN_ONLY[n]} |" for n in sorted(refused.KNOWN_ONLY)], "",
              "## In place", "",
              "For traced arrays these raise `InPlaceError`, which says what to write. With",
              "`inplace=False` all but `copyto` return a new array, traced or not.", "",
              listed(IN_PLACE), "",
              "## What does not exist", "",
              "These names raise `MissingNameError`, which is a NotImplementedError.", "",
              "| name | instead |", "|---|---|",
              *[f"| `{n}` | {refused.NAMES[n]} |" for n in sorted(refused.NAMES, key=str.lower)], ""]
    return "\n".join(parts)


def all_checks() -> list[Check]:
    return [Check(name, module, call) for name, (module, call) in cases().items()]


if __name__ == "__main__":
    found = all_checks()
    for c in found:
        if c.mistakes():
            print(c.name, c.call, c.mistakes())
    PAGE.write_text(page(found), encoding="utf-8")
