"""A derivative is a program: the graph of e = a*b + c*log(d), and all its partial derivatives.

The graph is built by parts, extended by the equations of its own derivatives, printed, and run in part.

    python examples/graph.py                    # prints
    python examples/graph.py --output e.svg     # also draws (or .html, .png, .dot)
"""

from __future__ import annotations

import argparse

import numpy as np

from functrans import Graph, name_scope, viz

VALUES = {"a": 2.0, "b": 3.0, "c": 4.0, "d": 5.0}
BY_HAND = {"a": 3.0, "b": 2.0, "c": np.log(5.0), "d": 4.0 / 5.0}


def build() -> Graph:
    """The graph, with symbols a, b, c, d and e."""
    with Graph() as g:
        a, b, c, d = [g.placeholder(name=name) for name in "abcd"]
        with name_scope("product"):
            product = a * b
        with name_scope("logarithm"):
            logarithm = c * np.log(d)
        g["e"] = product + logarithm
    return g


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", help="where the picture of the graph goes")
    output = parser.parse_args().output
    g = build()
    print("e = a*b + c*log(d), as a graph:\n")
    print(g)

    partials = dict(zip("abcd", g.gradients("e", list("abcd")), strict=True))
    print("\nwith the equations of its four partial derivatives:\n")
    print(g)
    for name, symbol in partials.items():
        print(f"  de/d{name} is {g.label(symbol)}")

    e, found = g.run(("e", partials), VALUES)
    print(f"\nat {', '.join(f'{k} = {v:g}' for k, v in VALUES.items())}:  e = {e:.6f}")
    for name, value in found.items():
        print(f"  de/d{name} = {value:.6f}, by hand {BY_HAND[name]:.6f}")
        assert np.isclose(value, BY_HAND[name], rtol=1e-12)

    second = g.gradients(partials["d"], ["c", "d"])
    print("\nof de/dd again, by c and by d: {:.6f}, {:.6f}".format(*g.run(second, VALUES)))
    print("of the logarithm, given as 1: e = {:g}".format(g.run("e", {"a": 2, "b": 3, "c": 4, "%5": 1.0})))
    print("\nwhat was added, and for which equation:\n")
    for eqn in g.eqns:
        if eqn.backward:
            origin = g.origin(eqn)
            print(f"  {g.label(g.outputs(eqn)[0])} = {eqn.op.name}(...)  for {origin.op.name} "
                  f"in {'/'.join(origin.scope or ('-',))}")
    if output:
        viz.draw(g).save(output)


if __name__ == "__main__":
    main()
