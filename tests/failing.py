"""Cases of wrong use: a function that fails at its line marked BAD, and what the error must say."""

import inspect
import os
import traceback

import pytest

import functrans as ft
from functrans import errors

OURS = os.path.dirname(os.path.abspath(ft.__file__)) + os.sep


class Cases(dict):
    """``@cases(kind, *texts)`` adds the function below; ``cases.check(name)`` runs and judges it."""

    def __call__(self, kind, *texts):
        def add(f):
            self[f.__name__] = (f, kind, texts)
            return f
        return add

    def check(self, name):
        f, kind, texts = self[name]
        with pytest.raises(errors.FunctransError) as caught:
            f()
        e = caught.value
        text = str(e)
        assert type(e) is kind, text
        for t in texts:
            assert t in text
        assert f"{os.path.basename(inspect.getfile(f))}:{marked_line(f)} in " in text
        assert e.fix and len(text.splitlines()) >= 3, "the text must say what to do"
        assert not getattr(e, "__notes__", None)
        chain = [e]
        while chain:
            e = chain.pop()
            for frame in traceback.extract_tb(e.__traceback__):
                assert not frame.filename.startswith(OURS), frame
                assert not frame.filename.endswith((".pyx", ".pxd")), frame
            chain += [x for x in (e.__cause__, None if e.__suppress_context__ else e.__context__) if x]


def marked_line(f):
    lines, first = inspect.getsourcelines(f)
    (at,) = [i for i, line in enumerate(lines) if "# BAD" in line]
    return first + at
