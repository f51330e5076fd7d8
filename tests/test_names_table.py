"""Every name of NumPy's, called: docs/numpy.md is what calls show; numpy.f(traced) is right or refused."""

import inspect

import numpy as np
import pytest
from names_table import PAGE, all_checks, all_close, call_of, numeric, operands, page, quiet

import functrans.numpy as fnp
from functrans import errors, jit


@pytest.fixture(scope="module")
def checks():
    return all_checks()


def test_each_mode_of_each_name(checks):
    assert {c.name: c.mistakes() for c in checks if c.mistakes()} == {}


def test_the_page_is_up_to_date(checks):
    """If not: python tests/names_table.py"""
    assert PAGE.read_text(encoding="utf-8") == page(checks)


# ----- numpy.f(traced) --------------------------------------------------------------------------------

ATTEMPTS = ["f(x)", "f(m)", "f(i)", "f(x, y)", "f(m, s)", "f(i, j)", "f(x, 1)", "f(m, 1)", "f([x, y])",
            "f(b, x)", "f(x, i)", "f(m, 0, 1)", "f(3, x)", "f(x, y, x)", "f(x, [x > 0], [x])"]
# change NumPy's settings, or print
SETTINGS = """test info show_config show_runtime seterr seterrcall setbufsize set_printoptions printoptions
    errstate save savez savez_compressed savetxt""".split()
# C code that asks for a buffer or a sequence, and nothing else; or whose result is not numbers
DEAF = """bmat nditer
    frombuffer from_dlpack zeros ones empty ndarray broadcast_shapes isscalar typename iterable
    mintypecode empty_like isdtype issubdtype""".split()
# other results on purpose: eigh and the like symmetrize, eigenvalues stay complex, shapes stay
OWN_WAY = {"eigh", "eigvalsh", "cholesky", "eig", "eigvals", "pinv", "polydiv", "polymul", "partition",
           "argpartition"}


def functions():
    for module in (np, np.linalg, np.fft):
        for name, f in vars(module).items():
            if name[0] != "_" and callable(f) and name not in SETTINGS and not (
                    isinstance(f, type) and (issubclass(f, (np.generic, Exception)) or module is not np)
            ):
                yield pytest.param(f, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("f", list(functions()))
def test_numpy_itself_called_with_traced_arrays(f):
    """What NumPy does for ndarrays happens for traced arrays too, or a functrans error says what to do."""
    if f.__name__ in DEAF:
        return
    for call in ATTEMPTS:
        g, names = call_of(f, call)
        args = [operands()[n] for n in names]
        texts = []
        try:
            want = quiet(lambda g=g, args=args, texts=texts: numeric(g(*args), texts))
        except Exception:
            continue
        if texts or isinstance(f, type) or f.__name__ in OWN_WAY:
            want = None                                     # no numbers: only that it is no other error
        try:
            got = quiet(jit(lambda *xs, g=g: numeric(g(*xs))), *args)
        except errors.FunctransError as e:
            assert e.fix or e.got, call
        else:
            assert want is None or all_close(got, want, 1e-9), call


def test_out_is_refused(checks):
    """Wherever there is such a parameter."""
    seen = 0
    for c in checks:
        if "out" in (parameters(c.f) or ()) and getattr(c.f, "nout", 1) == 1:
            g, names = call_of(c.f, c.call[:-1] + ", out=np.zeros(4))")
            with pytest.raises(errors.InPlaceError):
                jit(g)(*[operands()[n] for n in names])
            seen += 1
    assert seen > 40


# ----- signatures -------------------------------------------------------------------------------------

# where ours differ from NumPy's on purpose
DIFFERENCES = {
    "arange": "passes on what it gets, by any of NumPy's spellings",
    "einsum": "names the keywords that NumPy takes as **kwargs",
    **dict.fromkeys("matmul matvec vecmat vecdot".split(), "axes=, keepdims= of gufuncs: move axes"),
}


def parameters(f):
    """By name; None where NumPy's C code does not tell."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return {p.name: p for p in found if p.name != "like"}


@pytest.mark.parametrize("module", ["", "linalg", "fft"])
def test_signatures(module):
    """Names, order, kinds and defaults of parameters are NumPy's; ours may have more, by keyword."""
    theirs, ours = (getattr(np, module), getattr(fnp, module)) if module else (np, fnp)
    wrong = {}
    for name in dir(theirs):
        f, g = getattr(theirs, name), getattr(ours, name, None)
        if name[0] == "_" or g is None or f is g or not callable(f) or isinstance(f, type):
            continue
        wanted, found = parameters(f), parameters(g)
        if wanted is None or found is None or name in DIFFERENCES:
            continue
        extra = [p for n, p in found.items() if n not in wanted]
        same = [n for n in found if n in wanted] == list(wanted)
        same &= all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in extra)
        for n, p in wanted.items():
            same &= n in found and (p.default is np._NoValue or found[n].default == p.default)
            same &= n in found and found[n].kind == p.kind
        if not same:
            wrong[name] = f"{inspect.signature(f)}  ours: {inspect.signature(g)}"
    assert wrong == {}
