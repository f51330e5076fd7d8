"""What the tests of graphs share: a small graph, its feeds, and a comparison of pytrees."""

import numpy as np

from functrans import Graph, tree

FEEDS = {"a": 2.0, "b": 3.0, "c": 4.0, "d": 5.0}


def four_leaves():
    """e = a*b + c*log(d), its symbols by name."""
    with Graph() as g:
        a, b, c, d = [g.placeholder(name=n) for n in "abcd"]
        g["e"] = a * b + c * np.log(d)
    return g


def close(got, want, **how):
    for x, y in zip(tree.leaves(got), tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-12, "atol": 1e-12, **how})
