import pickle
import re
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from functrans import errors

CLASSES = [
    c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.FunctransError)
]
BUILTIN = {
    "LeakedTracerError": RuntimeError,
    "TracerBoolError": TypeError,
    "DerivativeLostError": TypeError,
    "InPlaceError": TypeError,
    "ShapeError": ValueError,
    "AxisError": (ValueError, IndexError, np.exceptions.AxisError),
    "DtypeError": TypeError,
    "TreeError": TypeError,
    "ArgumentError": TypeError,
    "NonScalarOutputError": TypeError,
    "IntegerInputError": TypeError,
    "BatchSizeError": ValueError,
    "NonDifferentiableError": TypeError,
    "NonFiniteError": FloatingPointError,
    "UnboundAxisError": NameError,
    "ConcretizationError": ValueError,
    "ResultTypeError": TypeError,
    "NotSupportedError": NotImplementedError,
    "IndexRangeError": IndexError,
    "CarryTypeError": TypeError,
    "CallbackResultError": ValueError,
    "MissingNameError": (NotImplementedError, AttributeError),
    "SparsityError": ValueError,
    "DrawingError": ValueError,
    "BoundsError": ValueError,
    "ObjectiveError": ValueError,
    "GraphError": ValueError,
    "UnknownSymbolError": (ValueError, KeyError),
    "KernelError": RuntimeError,
    "CheckError": AssertionError,
    "ThreadCountError": ValueError,
    "NotComplexError": TypeError,
    "RandomKeyError": TypeError,
    "OptionError": ValueError,
    "DonationError": ValueError,
    "LogdirError": ValueError,
    "ClosedError": ValueError,
    "TagError": ValueError,
    "MissingPackageError": ImportError,
    "BuildError": ImportError,
}
HERE = Path(__file__).name


def test_table_is_complete():
    assert {c.__name__ for c in CLASSES} == {*BUILTIN, "FunctransError"}
    assert {c.__name__ for c in CLASSES} <= set(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_each_class(cls):
    bases = BUILTIN.get(cls.__name__, Exception)
    for base in bases if isinstance(bases, tuple) else (bases,):
        with pytest.raises(base):
            raise cls("got a thing")
    assert cls.__doc__.strip()
    exc = cls("got a thing", "do another\nor a third")
    where = rf".*{re.escape(HERE)}:\d+ in test_each_class"
    assert re.fullmatch(rf"got a thing\n  at {where}\n  do another\n  or a third", str(exc))
    assert (exc.got, exc.fix) == ("got a thing", "do another\nor a third")
    assert str(cls("a", location=False)) == "a" and cls("a", location=False).location is None
    assert str(cls("a", "b", "model.py:3 in f")) == "a\n  at model.py:3 in f\n  b"
    back = pickle.loads(pickle.dumps(exc))
    assert type(back) is cls and str(back) == str(exc) and vars(back) == vars(exc)


def test_axis_error_keeps_the_axis():
    exc = errors.AxisError("axis 2 of f64[3]", axis=2, ndim=1)
    assert (exc.axis, exc.ndim) == (2, 1)
    back = pickle.loads(pickle.dumps(exc))
    assert (back.axis, back.ndim, str(back)) == (2, 1, str(exc))


def run_as(filename, source, **names):
    exec(compile(source, filename, "exec"), names)
    return names


def internal(name="api.py"):
    return str(Path(errors.__file__).parent / name)


def test_location_skips_functrans_numpy_and_scipy():
    for file in (internal(), np.__file__, "functrans/trace/core.pyx", "/x/functrans/a.pyx"):
        where = run_as(file, "def g(): return f()", f=errors.user_location)["g"]()
        assert re.search(rf"{re.escape(HERE)}:\d+ in test_location", where)
    inner = run_as("model.py", "\ndef loss(): return f()", f=errors.user_location)["loss"]
    assert inner() == "model.py:2 in loss"
    frame = run_as(internal(), "def g(): return f()", f=errors.user_frame)["g"]()
    assert frame is sys._getframe()


def test_location_is_shown_from_the_working_folder(tmp_path, monkeypatch):
    f = run_as(str(tmp_path / "a.py"), "def f(): return g()", g=errors.user_location)["f"]
    assert f() == f"{tmp_path / 'a.py'}:1 in f"
    monkeypatch.chdir(tmp_path)
    assert f() == "a.py:1 in f"


WRAPPER = """
def call(f):
    try:
        return inner(f)
    except BaseException as e:
        hide(e)
        raise
def inner(f):
    return f()
def fails(f):
    raise ValueError("inside")
"""


@pytest.fixture
def wrapper(monkeypatch):
    monkeypatch.delenv("FUNCTRANS_TRACEBACK", raising=False)
    return run_as(internal(), WRAPPER, hide=errors.hide_internal_frames)


def frames(exc):
    return [f.name for f in traceback.extract_tb(exc.__traceback__)]


def user():
    raise KeyError("mine")


def test_internal_frames_are_hidden(wrapper):
    with pytest.raises(KeyError) as info:
        wrapper["call"](lambda: wrapper["call"](user))
    assert frames(info.value) == ["test_internal_frames_are_hidden", "<lambda>", "user"]
    assert not hasattr(info.value, "__notes__")


def test_all_frames_on_request(wrapper, monkeypatch):
    monkeypatch.setenv("FUNCTRANS_TRACEBACK", "full")
    with pytest.raises(KeyError) as info:
        wrapper["call"](user)
    assert frames(info.value) == ["test_all_frames_on_request", "call", "inner", "user"]


def test_chained_exceptions_are_shortened_too(wrapper):
    def chain():
        try:
            wrapper["inner"](user)
        except KeyError as e:
            raise ValueError("outer") from e

    with pytest.raises(ValueError) as info:
        wrapper["call"](chain)
    assert frames(info.value) == ["test_chained_exceptions_are_shortened_too", "chain"]
    assert frames(info.value.__cause__) == ["chain", "user"]
    with pytest.raises(ExceptionGroup) as info:
        wrapper["call"](lambda: (_ for _ in ()).throw(ExceptionGroup("g", [raised(wrapper)])))
    assert frames(info.value.exceptions[0]) == ["raised", "user"]


def raised(wrapper):
    try:
        wrapper["inner"](user)
    except KeyError as e:
        return e


def test_cycles_of_contexts_end(wrapper):
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    errors.hide_internal_frames(a)


def test_errors_of_functrans_itself_say_how_to_see_more(wrapper):
    wrapper["inner"] = wrapper["fails"]
    with pytest.raises(ValueError, match="inside") as info:
        wrapper["call"](lambda: wrapper["call"](user))
    assert frames(info.value) == ["test_errors_of_functrans_itself_say_how_to_see_more"]
    assert len(info.value.__notes__) == 1 and "FUNCTRANS_TRACEBACK=full" in info.value.__notes__[0]


def test_errors_imports_only_numpy():
    code = (
        "import numpy, sys; old = set(sys.modules); import functrans.errors; "
        "print(sorted(m for m in set(sys.modules) - old "
        "if m.split('.')[0] not in ('functrans', '__future__')))"
    )
    root = str(Path(errors.__file__).parents[1])
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
