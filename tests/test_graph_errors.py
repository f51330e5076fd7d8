"""Wrong use of graphs: class, names, shapes, the user's line and what to do; nothing is left half done."""

import pickle
import threading

import numpy as np
import pytest
from failing import Cases
from functrans.ir.core import Jaxpr

from functrans import Graph, errors, grad, gradients, jit, make_jaxpr, name_scope

E = errors
case = Cases()


def built():
    """a (f64[3]), b (f64[]), n (i64[3]) and y = sum(a) * b."""
    with Graph() as g:
        a = g.placeholder((3,), name="a")
        b = g.placeholder(name="b")
        g.placeholder((3,), "int64", name="n")
        g["y"] = np.sum(a) * b
    return g


# ----- building -------------------------------------------------------------------------------------------


@case(E.ShapeError, "placeholder 'w'", "(3, -1)", "integers >= 0")
def negative_extent():
    Graph().placeholder((3, -1), name="w")  # BAD


@case(E.ShapeError, "(None, 4)", "all extents are known")
def unknown_extent():
    Graph().placeholder((None, 4))  # BAD


@case(E.ShapeError, "'float64'")
def dtype_in_the_place_of_the_shape():
    Graph().placeholder("float64")  # BAD


@case(E.DtypeError, "placeholder 'w'", "'S4'", "float32")
def dtype_of_text():
    Graph().placeholder((), "S4", name="w")  # BAD


@case(E.DtypeError, "'no such'")
def dtype_that_is_none():
    Graph().placeholder((), "no such")  # BAD


@case(E.GraphError, "'a'", "f64[3]", "name_scope")
def name_that_is_taken():
    built().placeholder(name="a")  # BAD


@case(E.GraphError, "'layer/w'")
def name_that_is_taken_in_a_scope():
    g = Graph()
    with name_scope("layer"):
        g.placeholder(name="w")
    g.constant(1.0, name="layer/w")  # BAD


@case(E.GraphError, "y:f64[]", "'z'", "one name")
def two_names():
    g = built()
    g["z"] = g["y"]  # BAD


@case(E.GraphError, "'%1'")
def name_like_a_printed_one():
    built().placeholder(name="%1")  # BAD


@case(E.GraphError, "f64[3]")
def symbol_in_a_function_outside_of_the_block():
    jit(np.sin)(built()["a"])  # BAD


@case(E.GraphError, "f64[3]", "its own graph")
def symbol_in_another_graph():
    g, h = built(), built()
    with h:
        h["a"] + g["a"]  # BAD


@case(E.GraphError, "f64[3]")
def symbol_captured_by_a_function():
    g = built()
    grad(lambda x: np.sum(x * g["a"]))(np.ones(3))  # BAD


@case(E.GraphError, "finalized")
def finalized_graph():
    g = built()
    g.finalize()
    g.placeholder()  # BAD


@case(E.GraphError, "finalized")
def gradients_of_a_finalized_graph():
    g = built()
    g.finalize()
    g.gradients("y", "a")  # BAD


@case(E.GraphError, "finalize", "after the block")
def finalized_inside_of_the_block():
    with Graph() as g:
        g.finalize()  # BAD


@case(E.TracerBoolError, "f64[]", "not known while a Graph traces")
def truth_of_a_symbol():
    g = built()
    with g:
        if g["b"]:  # BAD
            pass


@case(E.ConcretizationError, "i64[]", "a Graph")
def size_from_a_symbol():
    g = built()
    with g:
        np.zeros(3)[int(np.sum(g["n"]))]  # BAD


@case(E.InPlaceError, "f64[3]")
def assignment():
    g = built()
    with g:
        g["a"][0] = 1.0  # BAD


@case(E.ArgumentError, "symbol a", "an array or a number")
def constant_of_a_symbol():
    g = built()
    g.constant(g["a"])  # BAD


@case(E.UnknownSymbolError, "'loss'", "'a'", "'y'")
def unknown_name():
    built()["loss"]  # BAD


@case(E.UnknownSymbolError, "'%77'")
def unknown_number():
    built()["%77"]  # BAD


# ----- running -------------------------------------------------------------------------------------------


@case(E.GraphError, "y:f64[]", "needs b:f64[]; a:f64[3] is fed")
def placeholder_that_is_not_fed():
    built().run("y", {"a": np.ones(3)})  # BAD


@case(E.GraphError, "fetches['v'][1]", "y:f64[]", "needs a:f64[3]; b:f64[] is fed")
def fetch_that_needs_more():
    built().run({"v": ["b", "y"]}, {"b": 1.0})  # BAD


@case(E.ShapeError, "the value of a is f64[4]", "a:f64[3]")
def feed_of_another_shape():
    built().run("y", {"a": np.ones(4), "b": 1.0})  # BAD


@case(E.DtypeError, "the value of a is c128[3]", "a:f64[3]", "astype")
def feed_of_another_dtype():
    built().run("y", {"a": np.ones(3, complex), "b": 1.0})  # BAD


@case(E.DtypeError, "the value of n is f64[3]", "n:i64[3]")
def fractions_for_integers():
    built().run("n", {"n": [0.5, 1.0, 2.0]})  # BAD


@case(E.DtypeError, "the value of b is the str 'x'", "b:f64[]")
def text_for_a_number():
    built().run("b", {"b": "x"})  # BAD


@case(E.GraphError, "run: feeds", "f64[3]", "another graph")
def feed_of_another_graph():
    built().run("y", {built()["a"]: np.ones(3), "b": 1.0})  # BAD


@case(E.GraphError, "run: fetches[1]", "f64[3]", "another graph")
def fetch_of_another_graph():
    built().run(["b", built()["a"]], {"b": 1.0})  # BAD


@case(E.GraphError, "run: fetches", "float 3.0")
def fetch_of_a_number():
    built().run(3.0)  # BAD


@case(E.GraphError, "a:f64[3] is fed twice")
def two_values():
    g = built()
    g.run("y", {g["a"]: np.ones(3), "a": np.ones(3), "b": 1.0})  # BAD


@case(E.ArgumentError, "feeds is a list", "{symbol: value}")
def feeds_that_are_no_pairs():
    built().run("y", [1.0, 2.0])  # BAD


@case(E.UnknownSymbolError, "'loss'")
def fetch_of_an_unknown_name():
    built().run("loss")  # BAD


@case(E.GraphError, "jaxpr: feeds[0]", "int 3")
def jaxpr_of_numbers():
    built().jaxpr("y", [3, "a"])  # BAD


@case(E.ArgumentError, "inputs is the str 'a'", "a list")
def inputs_that_are_no_list():
    built().function("a", "y")  # BAD


@case(E.DtypeError, "Graph.of(sin)", "'str'")
def graph_of_text():
    Graph.of(np.sin, "x")  # BAD


@case(E.GraphError, "used by exp before it is defined", "before it is used")
def cycle():
    j = make_jaxpr(lambda x: np.exp(np.sin(x)))(1.0)
    Graph.from_jaxpr(Jaxpr(j.invars, j.eqns[::-1], j.outs))  # BAD


@case(E.ArgumentError, "no jaxpr")
def graph_of_a_number():
    Graph.from_jaxpr(3)  # BAD


# ----- gradients -----------------------------------------------------------------------------------------


@case(E.GraphError, "unconnected='nil'", "'none', 'zero', 'raise'")
def unconnected_of_another_word():
    built().gradients("y", "a", unconnected="nil")  # BAD


@case(E.GraphError, "no y depends on xs['u'] (n:i64[3])", "'zero'")
def x_that_is_not_connected():
    built().gradients("y", {"a": "a", "u": "n"}, unconnected="raise")  # BAD


@case(E.GraphError, "gradients: xs[1]", "f64[3]", "another graph")
def x_of_another_graph():
    built().gradients("y", ["a", built()["a"]])  # BAD


@case(E.GraphError, "gradients: ys", "int 1")
def y_that_is_a_number():
    built().gradients(1, "a")  # BAD


@case(E.GraphError, "ys is empty")
def no_ys():
    built().gradients([], "a")  # BAD


@case(E.GraphError, "gradients: stop_gradients", "array of dtype float64")
def stop_at_an_array():
    built().gradients("y", "a", stop_gradients=np.ones(3))  # BAD


@case(E.GraphError, "3 grad_ys for 2 ys")
def grad_ys_of_another_number():
    built().gradients(["y", "b"], "b", grad_ys=[1.0, 2.0, 3.0])  # BAD


@case(E.ShapeError, "grad_ys[1] is f64[2]", "a:f64[3]")
def grad_ys_of_another_shape():
    built().gradients(["y", "a"], "a", grad_ys=[None, np.ones(2)])  # BAD


@case(E.ShapeError, "grad_ys is f64[3]", "y:f64[]")
def grad_ys_of_another_shape_by_symbol():
    built().gradients("y", "a", grad_ys="a")  # BAD


@case(E.DtypeError, "grad_ys is c128[]", "y:f64[]")
def grad_ys_of_another_dtype():
    built().gradients("y", "a", grad_ys=1j)  # BAD


@case(E.DtypeError, "grad_ys is i64[3]", "a:f64[3]", "astype")
def grad_ys_of_another_dtype_by_symbol():
    built().gradients("a", "a", grad_ys="n")  # BAD


@case(E.DtypeError, "complex", "c128[]", "grad_ys")
def complex_y():
    g = Graph()
    g.gradients(g.placeholder((), complex), [])  # BAD


@case(E.ArgumentError, "gradients", "function")
def gradients_of_a_number():
    gradients(np.sum(np.ones(3)))  # BAD


@case(E.GraphError, "2 grad_ys for 3 ys")
def grad_ys_of_a_function():
    gradients(lambda x: (x, x, x), 0, (1.0, 2.0))(1.0)  # BAD


@case(E.TreeError, "grad_ys", "ys")
def grad_ys_of_another_structure():
    gradients(lambda x: {"a": x, "b": x}, 0, {"a": 1.0})(1.0)  # BAD


@case(E.GraphError, "no result depends on y:f64[]")
def argument_that_is_not_connected():
    gradients(lambda x, y: x, 1, unconnected="raise")(1.0, 2.0)  # BAD


@pytest.mark.parametrize("name", case)
def test_error(name):
    case.check(name)


def test_symbol_outside_of_the_block():
    g = built()
    with pytest.raises(errors.GraphError, match=r"f64\[3\] was used where its Graph is not being built"):
        g["a"] + 1.0


# ----- what is left after an error ------------------------------------------------------------------------


def test_an_error_in_the_block_ends_it():
    g = built()
    with pytest.raises(errors.TracerBoolError), g:
        bool(g["b"])
    assert jit(np.sin)(0.0) == 0.0
    with g:
        g["z"] = g["y"] * 2.0
    assert g.run("z", {"a": np.ones(3), "b": 2.0}) == 12.0


def test_an_error_in_gradients_adds_nothing():
    g = built()
    before = str(g)
    with g, pytest.raises(errors.GraphError):
        g.gradients("y", ["a", "n"], unconnected="raise")
    with g, pytest.raises(errors.ShapeError):
        g.gradients("y", "a", grad_ys=np.ones(2))
    assert str(g) == before


def test_one_thread_builds():
    g, caught = built(), []

    def work():
        try:
            with g:
                pass
        except errors.GraphError as e:
            caught.append(e)
    with g:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(caught) == 1 and "two threads" in str(caught[0])
    work()
    assert len(caught) == 1


def test_graphs_nest():
    """A graph inside of another, and inside of a function that is traced."""
    g, h = built(), Graph()
    with g:
        with h:
            h["s"] = np.sin(h.placeholder(name="t"))
            with g:
                g["u"] = g["y"] * 2.0
        g["v"] = g["y"] * h.run("s", {"t": g["b"]})

    def f(x):
        with Graph() as inner:
            y = inner.placeholder() * x
        return inner.run(y, [(inner.placeholders, [x])])
    assert grad(f)(3.0) == 6.0
    feeds = {"a": np.ones(3), "b": 0.5}
    assert g.run(["u", "v"], feeds) == [3.0, 1.5 * np.sin(0.5)]


def test_graphs_are_not_pickled():
    with pytest.raises(errors.ArgumentError, match="pickled"):
        pickle.dumps(built())
