"""Reading and adding at index arrays, of many sizes, beside other libraries.

    python benchmarks/indexing.py --peer jax=path/to/python
    python benchmarks/indexing.py --only read_1e6 add_1e6_many --rounds 5

Measured like ``compare.py``, whose options it has: the libraries take turns, ratios are to functrans.
The number in a name is how many positions there are; ``rows_64`` are rows of 64 elements. Positions are
random and of int32, as most libraries make them, unless the name says otherwise.
"""

from __future__ import annotations

import sys

import numpy
from compare import run
from workloads import arrays, bound, scaled

FUNCTIONS = INDEXING = {}
SKIP: dict = {}


def positions(b, n, extent, kind="random", dtype="int32"):
    i = numpy.random.default_rng(2).integers(extent, size=n).astype(dtype)
    return b.index(numpy.sort(i) if kind == "sorted" else i)


def read(name, n, extent, *row, dtype="float32", kind="random", of="int32"):
    """``x[i]``."""
    def make(b, size):
        (x,) = arrays(b, dtype, (scaled(extent, size), *row))
        return bound(b, b.jit(lambda x, i: x[i]), x, positions(b, scaled(n, size), len(x), kind, of))
    INDEXING[f"read_{name}"] = make


def add(name, n, extent, *row, dtype="float32", kind="random", of="int32"):
    """The gradient of ``sum(x[i] * w)``: zeros to which w is added at i."""
    def make(b, size):
        x, w = arrays(b, dtype, (scaled(extent, size), *row), (scaled(n, size), *row))
        f = b.grad(lambda x, i, w: b.np.sum(x[i] * w))
        return bound(b, b.jit(f), x, positions(b, len(w), len(x), kind, of), w)
    INDEXING[f"add_{name}"] = make


read("1e4", 10_000, 10_000)
read("1e6", 1_000_000, 1_000_000)
read("1e6_f64", 1_000_000, 1_000_000, dtype="float64", of="int64")
read("1e6_small_table", 1_000_000, 1_000)
read("1e6_sorted", 1_000_000, 1_000_000, kind="sorted")
read("1e7", 10_000_000, 10_000_000)
read("1e6_rows_3", 1_000_000, 100_000, 3)
read("1e6_rows_3_f64", 1_000_000, 100_000, 3, dtype="float64")
read("1e5_rows_64", 100_000, 50_000, 64)
read("1e4_rows_512", 10_000, 10_000, 512)
add("1e4", 10_000, 10_000)
add("1e6", 1_000_000, 1_000_000)
add("1e6_f64", 1_000_000, 1_000_000, dtype="float64", of="int64")
add("1e6_many", 1_000_000, 1_000)
add("1e6_sorted", 1_000_000, 100_000, kind="sorted")
add("1e7", 10_000_000, 1_000_000)
add("1e6_rows_3", 1_000_000, 100_000, 3)
add("1e5_rows_64", 100_000, 50_000, 64)
add("1e5_rows_64_many", 100_000, 500, 64)
add("1e4_rows_512", 10_000, 10_000, 512)


def indexing(function):
    INDEXING[function.__name__] = function
    return function


@indexing
def columns(b, size):
    """``x[:, i]``."""
    (x,) = arrays(b, "float32", (scaled(1_000, size), 2_000))
    return bound(b, b.jit(lambda x, i: x[:, i]), x, positions(b, 1_000, 2_000))


@indexing
def take_along_axis(b, size):
    """One element of each row, and several."""
    (x,) = arrays(b, "float32", (scaled(4_000, size), 500))
    i = b.index(numpy.random.default_rng(1).integers(500, size=(len(x), 100)).astype("int32"))
    return bound(b, b.jit(lambda x, i: b.np.take_along_axis(x, i, axis=1)), x, i)


@indexing
def take_along_axis_grad(b, size):
    (x,) = arrays(b, "float64", (scaled(4_000, size), 500))
    i = b.index(numpy.random.default_rng(1).integers(500, size=(len(x), 100)))
    f = b.grad(lambda x, i: b.np.sum(b.np.take_along_axis(x, i, axis=1) ** 2))
    return bound(b, b.jit(f), x, i)


@indexing
def batched_reads(b, size):
    """``vmap`` of a lookup: a table for each of them."""
    (x,) = arrays(b, "float32", (scaled(1_000, size), 1_000))
    i = b.index(numpy.random.default_rng(1).integers(1_000, size=(len(x), 500)).astype("int32"))
    return bound(b, b.jit(b.vmap(lambda x, i: x[i])), x, i)


@indexing
def label_scores(b, size):
    """``z[arange(n), labels]``, as in a cross-entropy, and its gradient."""
    (z,) = arrays(b, "float32", (scaled(100_000, size), 10))
    labels = b.index(numpy.random.default_rng(1).integers(10, size=len(z)))

    def loss(z, labels):
        return b.np.sum(z[b.np.arange(z.shape[0]), labels] ** 2)

    return bound(b, b.jit(b.grad(loss)), z, labels)


@indexing
def histogram(b, size):
    (x,) = arrays(b, "float64", (scaled(1_000_000, size),))
    return bound(b, b.jit(lambda x: b.np.histogram(x, bins=50, range=(-4.0, 4.0))[0]), x)


@indexing
def bincount(b, size):
    if b.name == "functrans":
        import functrans.numpy
        count = functrans.numpy.bincount        # NumPy's has no length
    else:
        count = b.np.bincount
    i = positions(b, scaled(1_000_000, size), 1_000, dtype="int64")
    return bound(b, b.jit(lambda i: count(i, length=1_000)), i)


@indexing
def write_max(b, size):
    """The maximum at each place; the library's own spelling."""
    (w,) = arrays(b, "float32", (scaled(1_000_000, size),))
    i, x = positions(b, len(w), 100_000), b.array(numpy.full(100_000, -9.0, "float32"))
    return bound(b, b.jit(lambda x, i, w: x.at[i].max(w)), x, i, w)


@indexing
def write_set(b, size):
    (w,) = arrays(b, "float32", (scaled(1_000_000, size),))
    i, x = positions(b, len(w), 100_000), b.array(numpy.zeros(100_000, "float32"))
    return bound(b, b.jit(lambda x, i, w: x.at[i].set(w)), x, i, w)


if __name__ == "__main__":
    sys.exit(run(INDEXING, SKIP, set(INDEXING), __doc__, "indexing"))
