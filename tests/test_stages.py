"""jit(f).lower(...): the plan as people read it, its cost against counts by hand, the compiled function."""

import inspect
import pickle

import numpy as np
import pytest
from functrans.plan.lower import lower
from numpy.testing import assert_array_equal

import functrans
from functrans import ShapeDtypeStruct, errors, grad, jit, lax, vmap
from functrans.ir.op import OPS, program_work, work_of
from functrans.plan import clusters

F4 = np.float32


def cost(f, *args):
    return jit(f).lower(*args).cost_analysis()


def work(f, *args):
    c = cost(f, *args)
    return c["flops"], c["transcendentals"]


def spec(*shape, dtype=float):
    return ShapeDtypeStruct(shape, dtype)


# ----- work: counted by hand -----------------------------------------------------------------------


@pytest.mark.parametrize("f, args, flops, transcendentals", [
    (lambda a, b: a @ b, (spec(20, 30), spec(30, 40)), 2 * 20 * 30 * 40, 0),
    (lambda a, b: a @ b, (spec(20, 30), spec(30)), 2 * 20 * 30, 0),
    (lambda a, b: a @ b, (spec(5, 20, 30), spec(5, 30, 40)), 2 * 5 * 20 * 30 * 40, 0),
    (lambda a, b: np.einsum("ij,kj->", a, b), (spec(4, 5), spec(6, 5)), None, 0),
    (lambda x: x * 2.0 + x, (spec(1000),), 2000, 0),
    (lambda x: np.exp(x) * 3.0, (spec(1000),), 1000, 1000),
    (lambda x: np.sqrt(np.abs(x)) > 1.0, (spec(70),), 210, 0),
    (lambda x: np.sin(x) ** np.cos(x), (spec(7, dtype=F4),), 0, 21),
    (lambda x: np.sum(x), (spec(3000),), 2999, 0),
    (lambda x: np.sum(x, axis=0), (spec(30, 40),), 29 * 40, 0),
    (lambda x: np.max(x, axis=1), (spec(30, 40),), 39 * 30, 0),
    (lambda x: np.argmax(x, axis=1), (spec(30, 40),), 39 * 30, 0),
    (lambda x: np.cumsum(x, axis=1), (spec(30, 40),), 39 * 30, 0),
    (lambda x: np.transpose(x).reshape(-1)[3:], (spec(30, 40),), 0, 0),
    (lambda x, i: x[i], (spec(100), spec(10, dtype=int)), None, 0),
    (lambda x: np.where(x > 0, x, 0.0), (spec(100),), 200, 0),
    (lambda x: x, (spec(100),), 0, 0),
    (lambda x: x + 1.0, (spec(0, 5),), 0, 0),
    (lambda x, y: x * y, (spec(8, dtype=int), spec(8, dtype=int)), 8, 0),
])
def test_work_by_hand(f, args, flops, transcendentals):
    got = work(f, *args)
    assert got[1] == transcendentals
    assert flops is None or got[0] == flops


def test_scatter_adds_are_counted():
    record = OPS["scatter_add"]
    assert record.work is not None and OPS["scatter_set"].work is None and OPS["gather"].work is None


@pytest.mark.parametrize("width", [2, 100])             # a scalar loop, and a loop of steps
@pytest.mark.parametrize("length", [1, 7])
def test_scan_counts_every_turn(width, length):
    def f(s):
        return lax.scan(lambda s, _: (np.sin(s) * 2.0 + 1.0, None), s, None, length=length)[0]
    assert work(f, spec(width)) == (2 * width * length, width * length)


def test_while_counts_one_turn_and_says_so():
    def f(x):
        return lax.while_loop(lambda c: c[0] < 10, lambda c: (c[0] + 1, np.sin(c[1]) * 2.0), (0, x))[1]
    c = cost(f, spec(100))
    assert (c["flops"], c["transcendentals"], c["loops of unknown length"]) == (1 + 1 + 100, 100, 1)
    assert cost(lambda x: x + 1.0, spec(3))["loops of unknown length"] == 0


def test_cond_counts_the_branch_that_takes_most():
    def f(i, x):
        return lax.cond(i > 0, lambda x: x * 2.0, lambda x: np.exp(x) * x + 1.0, x)
    flops, transcendentals = work(f, spec(dtype=int), spec(1000))
    assert transcendentals == 1000 and 2000 <= flops <= 2010


def test_every_op_that_computes_has_a_rule():
    """Only ops that move or make data have none."""
    without = {op.name for op in OPS.values() if op.work is None}
    moves = {"structural", "index", "flat", "linear", "collective", "random", "sampler", "effect", "own"}
    assert {n for n in without if OPS[n].family not in moves} <= {"stop_gradient", "custom_linear"}


def test_plan_and_program_agree():
    """What the steps add up to is what the equations are."""
    def f(p, x):
        h = np.tanh(x @ p["w"] + p["b"])
        s = lax.scan(lambda c, h: (c + h * 0.5, c), np.zeros(50), h)[0]
        return np.sum(s * s) + np.mean(np.cumsum(h, axis=0)[np.array([3, 5])])
    lowered = jit(grad(f)).lower({"w": spec(30, 50), "b": spec(50)}, spec(40, 30))
    assert (lowered.plan.cost.flops, lowered.plan.cost.transcendentals) == program_work(lowered.jaxpr)
    assert lowered.plan.cost.flops > 2 * 40 * 30 * 50 * 2
    lowered = jit(lambda x, y: (x * y + 2.0) * (x - y) * 3.0 - x * x).lower(spec(5000), spec(5000))
    assert any("." in line.partition("ew:")[2].partition(":")[0] for line in str(lowered.plan).split("\n"))
    assert lowered.plan.cost.flops == 7 * 5000       # operations that share a loop count one by one


# ----- bytes and memory ------------------------------------------------------------------------------


def test_bytes_of_a_fused_group():
    """Inputs and outputs once; what passes between its members costs nothing."""
    c = cost(lambda x, y: np.exp(x) * y + x, spec(10_000), spec(10_000))
    assert c["bytes accessed"] == 3 * 80_000
    assert (c["argument bytes"], c["output bytes"], c["temp bytes"] < 1000) == (160_000, 80_000, True)


def test_bytes_of_products_broadcasts_and_indexing():
    assert cost(lambda a, b: a @ b, spec(20, 30), spec(30, 40))["bytes accessed"] == 8 * (600 + 1200 + 800)
    c = cost(lambda x, b: x * b, spec(100, 200, dtype=F4), spec(200, dtype=F4))
    assert c["bytes accessed"] == 4 * (20_000 + 200 + 20_000)
    # a gather reads what it takes, not all that is there
    c = cost(lambda x, i: np.take(x, i, mode="clip"), spec(100_000), spec(100, dtype=int))
    assert c["bytes accessed"] <= 10 * 8 * 100


def programs():
    def softmax(x):
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return np.sum((e / np.sum(e, axis=1, keepdims=True)) ** 2)

    def loop(s, w):
        return np.sum(lax.scan(lambda s, _: (np.tanh(s @ w), s), s, None, length=20)[0])

    yield "softmax", grad(softmax), (np.ones((300, 40)),)
    yield "loop", grad(loop), (np.ones((20, 30)), np.ones((30, 30)))
    yield "products", lambda a, b: a @ b @ a.T @ b, (np.ones((50, 50)), np.ones((50, 50)))
    yield "scalar", grad(lambda x: np.sin(x) * x**2), (1.5,)
    yield "unfused", lambda x: np.cumsum(np.cumsum(x)[::-1]), (np.ones(5000),)


@pytest.mark.parametrize("f, args", [pytest.param(f, a, id=n) for n, f, a in programs()])
def test_memory_is_that_of_the_program_that_runs(f, args):
    lowered = jit(f).lower(*args)
    program = lowered.version.run_pass.compiled()
    memory = lowered.memory_analysis()
    assert memory.temp_size_in_bytes == program.frame_bytes >= program.arena_bytes
    assert lowered.plan.arena_bytes == program.arena_bytes
    assert len(lowered.plan.steps) == int(repr(program).split(": ")[1].split()[0])
    assert memory.peak_memory_in_bytes == (memory.argument_size_in_bytes + memory.output_size_in_bytes
                                           + memory.temp_size_in_bytes + memory.scratch_size_in_bytes)


def test_buffers_in_use_at_once_lie_apart():
    def f(x):
        for k in range(6):
            x = np.cumsum(x) + np.roll(x, k)[::-1]
        return x
    plan = jit(f).lower(spec(3000)).plan
    placed = [b for b in plan.buffers if b.place == "arena"]
    assert placed
    for i, a in enumerate(placed):
        assert a.offset + a.nbytes <= plan.arena_bytes
        for b in placed[i + 1:]:
            # they may meet in one step: what is read there for the last time may be written over
            if a.first < b.last and b.first < a.last:
                assert a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset


def test_a_run_takes_its_arena_from_the_pool():
    """What the pool holds afterwards is the arena that the analysis announced, rounded up by an eighth."""
    from functrans import plan
    f = jit(lambda a: np.cumsum(np.cumsum(a, axis=0) @ a, axis=1) @ a)
    a = np.ones((600, 600))
    need = f.lower(a).memory_analysis().temp_size_in_bytes
    functrans.clear_caches()
    assert plan.arena_info()[:2] == (0, 0)
    f(a)
    blocks, held, _ = plan.arena_info()
    assert blocks == 1 and need <= held <= need * 1.125 + 4096
    functrans.clear_caches()
    assert plan.arena_info()[:2] == (0, 0)


# ----- the plan as text --------------------------------------------------------------------------------


def test_plan_text():
    def f(p, x):
        h = np.tanh(x @ p["w"])          # line 3
        return np.sum(h * h)             # line 4
    first = inspect.getsourcelines(f)[1]
    text = str(jit(f).lower({"w": spec(100, 50)}, spec(64, 100)).plan)
    assert "in0: f64[100,50]  p['w']" in text and "in1: f64[64,100]  x" in text
    (product,) = [line for line in text.splitlines() if "matmul:f64 [1,64,50,100]" in line]
    assert f"test_stages.py:{first + 1}" in product and "640000 flops" in product
    assert "<- in1[51200,800,0,8], in0[0,0,8,400]" in product
    (square,) = [line for line in text.splitlines() if "ew:mul:f64" in line]
    assert f"test_stages.py:{first + 2}" in square


def test_lines_are_those_of_this_function():
    """Also where another function of equal structure was transformed before."""
    def one(x):
        return np.sum(np.cos(x) * 1.5)

    def two(x):
        return np.sum(np.cos(x) * 1.5)
    x = np.ones(5)
    jit(grad(one))(x)
    grad(one)(x)
    plan = jit(grad(two)).lower(x).plan
    lines = {line for s in plan.steps for _, line, _ in s.sources}
    start = inspect.getsourcelines(two)[1]
    assert lines == {start + 1}


def test_scan_steps_have_lines():
    def f(s, w):
        return np.sum(lax.scan(lambda s, _: (np.tanh(s @ w), s), s, None, length=20)[0])
    start = inspect.getsourcelines(f)[1]
    plan = jit(grad(f)).lower(spec(20, 30), spec(30, 30)).plan
    scans = [s for s in plan.steps if s.kind == "scan"]
    assert len(scans) == 2 and scans[0].turns == 20
    for s in scans:
        assert [line for _, line, _ in s.sources] == [start + 1]
        assert s.bodies[0][0] == "body" and s.bodies[0][1].steps
        assert all(b.sources for b in s.bodies[0][1].steps)
    assert "20 turns" in str(plan) and "      body:" in str(plan)


def test_scalar_programs_show_their_instructions():
    plan = jit(grad(lambda x: np.sin(x) * x**2)).lower(1.5).plan
    (step,) = plan.steps
    assert step.kind == "scalar program"
    code = step.code()
    assert code[-1] == "end" and any("sin:f64" in c for c in code) and any("= in0+0 (f64)" in c for c in code)
    assert "r0 = 2.0" in code

    def loop(x):
        return lax.scan(lambda s, _: (s * 0.5 + 1.0, None), x, None, length=9)[0]
    (step,) = jit(loop).lower(1.5).plan.steps
    assert step.kind == "scalar loop" and step.turns == 9
    code = step.code()
    assert [c for c in code if not c.startswith(" ")] == ["before:", "each turn:", "after:"]
    assert "  next turn" in code


def test_every_scalar_instruction_can_be_shown():
    """All kinds of operands: tables of arities fit the interpreter's operations."""
    from functrans.kernels.lib import scalar_labels

    from functrans.plan.describe import _scalar_code
    for address in scalar_labels().values():
        (text,) = _scalar_code((), (address, 1 | 2 << 16 | 3 << 32 | 4 << 48), ["x"] * 10)
        assert text and ("=" in text or text.split()[0] in ("end", "next"))


def test_long_code_is_shortened(monkeypatch):
    monkeypatch.setattr(clusters, "enabled", False)
    def f(x):
        for _ in range(60):
            x = np.sin(x) + 0.5
        return x
    plan = jit(f).lower(spec(5000)).plan
    (step,) = plan.steps
    assert step.kind == "group" and len(step.eqns) == 120
    assert "more" in plan.show() and "more" not in plan.show(None)
    assert len(plan.show(None).splitlines()) > 120


def test_control_flow_inside():
    def f(i, x):
        y = lax.cond(i > 0, lambda x: np.cumsum(x), lambda x: x[::-1] * 2.0, x)
        return lax.while_loop(lambda c: np.sum(c) < 1e3, lambda c: np.cumsum(c), y)
    plan = jit(f).lower(spec(dtype=int), spec(100)).plan
    kinds = {s.kind: s for s in plan.steps}
    assert [n for n, _ in kinds["cond"].bodies] == ["branch 0", "branch 1"]
    assert [n for n, _ in kinds["while"].bodies] == ["body", "cond"] and kinds["while"].turns is None
    assert "turns unknown" in str(plan)


def test_watching_changes_no_plan():
    """Describing a program leaves the one that runs as it is."""
    lowered = jit(grad(lambda x: np.sum(np.tanh(x) ** 2))).lower(spec(4000))
    assert repr(lower(lowered.jaxpr)) == repr(lowered.plan.program)
    x = np.linspace(0, 1, 4000)
    assert_array_equal(lowered.plan.program.run([x])[0], lower(lowered.jaxpr).run([x])[0])


# ----- compiled -----------------------------------------------------------------------------------------


@jit
def model(params, x, scale=1.0):
    h = np.tanh(x @ params["w"])
    return {"loss": scale * np.sum(h * h), "h": (h, h[0])}


def model_inputs():
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(30, 20))}, rng.normal(size=(10, 30))


def test_compiled_gives_the_same():
    params, x = model_inputs()
    compiled = model.lower(params, x, scale=2.0).compile()
    want, got = model(params, x, scale=2.0), compiled(params, x, scale=2.0)
    assert_array_equal(got["h"][0], want["h"][0])
    assert got["loss"] == want["loss"] and type(got["h"]) is tuple
    info = compiled.out_info
    assert info["h"][1].shape == (20,) and info["loss"].dtype == float
    assert compiled.in_avals[0][0]["w"].shape == (30, 20)
    assert compiled.args_info[1]["scale"].shape == ()
    assert functrans.tree.structure(got) == compiled.out_tree
    assert functrans.tree.structure(((params, x), {"scale": 1.0})) == compiled.in_tree


def test_lowering_runs_nothing_and_takes_types():
    ran = []

    def f(x):
        ran.append(type(x).__name__)
        return x * 2.0
    lowered = jit(f).lower(spec(3))
    assert ran == ["Tracer"] and "mul" in lowered.as_text() and "f64[3]" in repr(lowered)
    assert_array_equal(lowered.compile()(np.arange(3.0)), [0.0, 2.0, 4.0])
    assert ran == ["Tracer"]


@pytest.mark.parametrize("change, text", [
    (lambda p, x: ({"w": p["w"][:, :5]}, x), r"params\['w'\] is f64\[30,5\], not f64\[30,20\]"),
    (lambda p, x: (p, x.astype(F4)), r"x is f32\[10,30\], not f64\[10,30\]"),
    (lambda p, x: (p, 1.0), r"x is f64\[\], not"),
    (lambda p, x: ({"v": p["w"]}, x), "structure"),
    (lambda p, x: (p,), "structure"),
    (lambda p, x: (p, "abc"), "x of compiled"),
])
def test_other_types_are_refused(change, text):
    params, x = model_inputs()
    compiled = model.lower(params, x).compile()
    for _ in range(2):
        with pytest.raises(TypeError, match=text):
            compiled(*change(params, x))
    compiled(params, x)
    with pytest.raises(errors.ArgumentError, match="structure"):
        compiled(params, x, scale=1.0)


def test_static_arguments_are_left_out():
    f = jit(lambda x, n, *, mode: x * n if mode == "a" else x + n, static_argnums=1, static_argnames="mode")
    compiled = f.lower(np.ones(3), 5, mode="b").compile()
    assert_array_equal(compiled(np.zeros(3)), [5.0] * 3)
    with pytest.raises(TypeError, match="without static arguments"):
        compiled(np.zeros(3), 5, mode="b")


def test_captured_arrays_are_read_at_every_call():
    w = np.ones(3)
    compiled = jit(lambda x: x * w).lower(spec(3)).compile()
    assert_array_equal(compiled(np.ones(3)), [1.0] * 3)
    w[:] = 7.0
    assert_array_equal(compiled(np.ones(3)), [7.0] * 3)


def test_numbers_and_traced_values():
    compiled = jit(lambda x, y: x * y).lower(spec(), spec(3)).compile()
    for x in (2.0, np.float64(2.0), np.array(2.0)):
        assert_array_equal(compiled(x, np.ones(3)), [2.0] * 3)
    assert grad(lambda x: np.sum(compiled(x, np.arange(3.0))))(2.0) == 3.0
    assert_array_equal(vmap(compiled, (0, None))(np.arange(2.0), np.ones(3)), [[0.0] * 3, [1.0] * 3])


def test_weak_numbers_stay_weak():
    """A Python number takes the dtype of what it meets, compiled or not."""
    f = jit(lambda x, y: x * y)
    y = np.ones(3, F4)
    compiled = f.lower(2.0, y).compile()
    assert compiled(2.0, y).dtype == f(2.0, y).dtype == F4
    again = pickle.loads(pickle.dumps(jit(np.multiply).lower(2.0, y).compile()))
    assert again(2.0, y).dtype == F4


def test_lower_leaves_caches_alone():
    f = jit(lambda x: x + 1.0)
    before = functrans.cache_info()["programs"].currsize
    f.lower(spec(3))
    assert f.cache_info().currsize == 0
    grad(lambda x: np.sum(np.sin(x)))(np.ones(3))
    f(np.ones(3))
    f.lower(spec(4))
    assert f.cache_info().currsize == 1
    assert functrans.cache_info()["programs"].currsize >= before


def test_work_of_all_ops_is_two_integers():
    def f(x):
        return np.sum(np.exp(x)) + np.max(x)
    for e in jit(f).lower(spec(30)).jaxpr.eqns:
        flops, transcendentals = work_of(e.sig)
        assert flops >= 0 and transcendentals >= 0
