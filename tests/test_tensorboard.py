"""Event files: their bytes, what TensorBoard reads in them, and what its server says of them."""

import json
import multiprocessing
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import warnings
from itertools import pairwise

import numpy as np
import pytest
from failing import Cases

import functrans as ft
from functrans import errors as E
from functrans import grad, jit, lax, make_jaxpr, name_scope, tree, value_and_grad
from functrans.tensorboard import SummaryWriter
from functrans.tensorboard.crc32c import crc32c
from functrans.tensorboard.graph import graph_def

case = Cases()


def accumulator(folder):
    """TensorBoard's own reader of a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        found = module.EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
        return found.Reload()


def records(path):
    """The records of a file, whose checksums must be right: an independent reader of the format."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (n,), head = struct.unpack_from("<Q", data, at), data[at:at + 8]
        content = data[at + 12:at + 12 + n]
        for part, place in ((head, at + 8), (content, at + 12 + n)):
            crc = slow_crc(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2 ** 32
            assert struct.unpack_from("<I", data, place)[0] == masked
        found.append(content)
        at += 16 + n
    return found


def slow_crc(data):
    """The definition, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def one_file(folder):
    (path,) = folder.iterdir()
    return path


# ----- the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, crc", [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA),
                                       (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)])
def test_crc_of_known_strings(data, crc):
    """The last three are RFC 3720's (B.4)."""
    assert crc32c(data) == crc


def test_crc_of_every_length():
    data = np.random.default_rng(0).bytes(70)
    assert [crc32c(data[i:j]) for i in range(9) for j in range(i, 70)] == [
        slow_crc(data[i:j]) for i in range(9) for j in range(i, 70)]


def test_framing(tmp_path):
    with SummaryWriter(tmp_path) as w:
        w.add_scalar("a", 1.0, 300)
    head, event = records(one_file(tmp_path))
    assert head[9:] == b"\x1a\x0dbrain.Event:2" and head[0] == 0x09
    # step (field 2) 300 as a varint; summary (5) of a value (1): tag (1) and simple_value (2)
    assert event[9:] == b"\x10\xac\x02" + b"\x2a\x0a\x0a\x08\x0a\x01a\x15\x00\x00\x80\x3f"
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..+", one_file(tmp_path).name)


def test_what_is_flushed_is_there(tmp_path):
    w = SummaryWriter(tmp_path, flush_secs=1000)
    path = one_file(tmp_path)
    assert len(records(path)) == 1
    w.add_scalar("a", 1.0, 0)
    assert len(records(path)) == 1
    w.flush()
    assert len(records(path)) == 2
    now = SummaryWriter(tmp_path / "now", flush_secs=0)
    now.add_scalar("a", 1.0, 0)
    assert len(records(one_file(tmp_path / "now"))) == 2
    w.close()
    w.close()
    now.close()


def test_a_cut_record_does_not_hide_the_others(tmp_path):
    """As when a process dies while it writes."""
    with SummaryWriter(tmp_path) as w:
        for i in range(3):
            w.add_scalar("a", float(i), i)
    path = one_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    assert [e.value for e in accumulator(tmp_path).Scalars("a")] == [0.0, 1.0]


def test_writers_of_one_folder_have_files_of_their_own(tmp_path):
    writers = [SummaryWriter(tmp_path) for _ in range(3)]
    for i, w in enumerate(writers):
        w.add_scalar("a", i, 0)
        w.close()
    assert len({w.path for w in writers}) == 3 == len(list(tmp_path.iterdir()))


def test_threads_share_a_writer(tmp_path):
    with SummaryWriter(tmp_path, flush_secs=0) as w:
        threads = [threading.Thread(target=lambda k=k: [w.add_scalar(f"t{k}", i, i) for i in range(200)])
                   for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len(records(one_file(tmp_path))) == 801


def _child(w):
    w.add_scalar("b", 2.0, 0)
    w.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_to_a_file_of_its_own(tmp_path):
    w = SummaryWriter(tmp_path, flush_secs=1000)
    w.add_scalar("a", 1.0, 0)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(w,))
    child.start()
    child.join()
    assert child.exitcode == 0
    w.close()
    assert sorted(len(records(p)) for p in tmp_path.iterdir()) == [2, 2]


# ----- what TensorBoard reads ---------------------------------------------------------------------------


def test_scalars(tmp_path):
    values = [1.5, np.float32(0.1), np.array([3]), np.True_, np.inf, -np.inf, np.nan, 1e300, 2 ** 40]
    with SummaryWriter(tmp_path) as w:
        for i, x in enumerate(values):
            w.add_scalar("loss", x, 100 - i)               # in any order of steps
        w.add_scalars("split", {"train": 0.25, "test": [1, 2]}, 7)
    found = accumulator(tmp_path)
    got = found.Scalars("loss")
    assert [e.step for e in got] == [100 - i for i in range(len(values))]
    with np.errstate(over="ignore"):
        want = [np.float32(np.asarray(x).item()) for x in values]
    np.testing.assert_array_equal([e.value for e in got], want)
    assert [(t, found.Scalars(t)[0].value) for t in ("split/train", "split/test/0", "split/test/1")] == [
        ("split/train", 0.25), ("split/test/0", 1.0), ("split/test/1", 2.0)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool])
def test_histogram(tmp_path, dtype):
    rng = np.random.default_rng(1)
    x = (100 * rng.normal(size=(50, 41))).astype(dtype)
    with SummaryWriter(tmp_path) as w:
        w.add_histogram("x", x, 3)
    (event,) = accumulator(tmp_path).Histograms("x")
    h, y = event.histogram_value, x.astype(float)
    assert (event.step, h.num, h.min, h.max) == (3, y.size, y.min(), y.max())
    np.testing.assert_allclose([h.sum, h.sum_squares], [y.sum(), (y * y).sum()], rtol=1e-12)
    edges = np.concatenate([[-np.inf], h.bucket_limit])
    assert sum(h.bucket) == y.size and len(h.bucket) == len(h.bucket_limit)
    np.testing.assert_array_equal(h.bucket, [np.sum((y >= a) & (y < b)) for a, b in pairwise(edges)])


def test_bucket_limits_are_tensorboards(tmp_path):
    """Its limits are 1e-12 * 1.1^k, their negatives, and zero; neighbours where no bucket is empty."""
    x = np.concatenate([-np.geomspace(1e-12, 1e19, 2000), [0.0], np.geomspace(1e-12, 1e19, 2000)])
    with SummaryWriter(tmp_path) as w:
        w.add_histogram("x", x, 0)
    limits = np.array(accumulator(tmp_path).Histograms("x")[0].histogram_value.bucket_limit)
    positive = limits[limits > 0]
    np.testing.assert_allclose(np.log(positive / 1e-12) / np.log(1.1), np.arange(len(positive)), atol=1e-9)
    np.testing.assert_array_equal(limits[limits < 0][-700:], -positive[:700][::-1])
    assert np.sum(limits == 0) == 1


def test_histograms_of_pytrees_and_lists(tmp_path):
    with SummaryWriter(tmp_path) as w:
        w.add_histogram("p", {"hidden": [{"w": np.ones(3)}, {"w": np.zeros(2)}]}, 0)
        w.add_histogram("list", [1, 2.5, np.float32(3)], 0)
    found = accumulator(tmp_path)
    assert sorted(found.Tags()["histograms"]) == ["list", "p/hidden/0/w", "p/hidden/1/w"]
    assert found.Histograms("list")[0].histogram_value.num == 3


def test_what_is_not_finite_is_counted(tmp_path):
    with SummaryWriter(tmp_path) as w:
        w.add_histogram("some", np.array([1.0, np.nan, np.inf, -np.inf, 2.0]), 4)
        w.add_histogram("none", np.array([np.nan]), 4)
        w.add_histogram("empty", np.zeros(0), 4)
    found = accumulator(tmp_path)
    assert found.Tags()["histograms"] == ["some"]
    assert found.Histograms("some")[0].histogram_value.sum == 3.0
    assert [(t, found.Scalars(t)[0].value) for t in sorted(found.Tags()["scalars"])] == [
        ("none/nonfinite", 1.0), ("some/nonfinite", 3.0)]


# ----- graphs -------------------------------------------------------------------------------------------


def loss(params, x):
    with name_scope("hidden"):
        h = np.tanh(x @ params["w"][0])
    with name_scope("loop"):
        h, _ = lax.scan(lambda h, _: (np.sin(h) * 0.5, None), h, None, length=3)
    with name_scope("out"), name_scope("inner"):
        return np.mean((h @ params["w"][1]) ** 2)


ARGS = {"w": [np.ones((3, 4)), np.ones((4, 2))]}, np.ones((5, 3))


def nodes(folder, fun, *args):
    with SummaryWriter(folder) as w:
        w.add_graph(fun, *args)
    return {n.name: n for n in accumulator(folder).Graph().node}


def test_graph_of_a_gradient(tmp_path):
    found = nodes(tmp_path, value_and_grad(loss), *ARGS)
    assert {"params/w/0", "params/w/1", "x", "results/0", "results/1/w/0", "results/1/w/1"} <= set(found)
    boxes = {"/".join(n.split("/")[:-1]) for n in found}
    assert {"hidden", "out/inner", "gradients/hidden", "gradients/out/inner", "loop/scan/body",
            "gradients/loop/scan/body"} <= boxes
    # every equation that the backward pass made is below gradients/, and no other one
    j = make_jaxpr(value_and_grad(loss))(*ARGS)
    inside = [n for n, x in found.items()
              if n.startswith("gradients/") and x.op != "Const" and "scan" not in n]
    assert len(inside) == len([e for e in j.eqns if e.backward and e.op.name != "scan"])


def test_edges_lead_to_nodes_and_have_shapes(tmp_path):
    found = nodes(tmp_path, grad(loss), *ARGS)
    for n in found.values():
        for x in n.input:
            name, _, k = x.partition(":")
            assert name in found
            assert int(k or 0) < len(found[name].attr["_output_shapes"].list.shape)
    assert len(found) == len({n.lower() for n in found})
    (dot,) = [n for name, n in found.items() if name == "hidden/dot_general"]
    assert list(dot.input) == ["x", "params/w/0"]
    assert [d.size for d in dot.attr["_output_shapes"].list.shape[0].dim] == [5, 4]
    assert dot.attr["source"].s.decode().startswith(os.path.relpath(__file__) + ":")
    assert dot.attr["contract"].s == b"((1,), (0,))"
    assert found["results/w/1"].attr["dtype"].type == 2        # DT_DOUBLE


@pytest.mark.parametrize("fun, boxes", [
    (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.sin(c[1])), (0, x))[1],
     {"while/cond", "while/body"}),
    (lambda x: lax.cond(x > 0, np.sin, lambda x: x * 2, x), {"cond/branch_0", "cond/branch_1"}),
    (lambda x: x + 1, {"results", "add"})])
def test_programs_inside_are_boxes(tmp_path, fun, boxes):
    found = nodes(tmp_path, jit(fun), 1.0)
    tops = {"/".join(n.split("/")[:2]) for n in found} | {n.split("/")[0] for n in found}
    assert boxes <= tops
    for n in found.values():
        assert all(x.partition(":")[0] in found for x in n.input)


def test_long_programs_are_written_quickly(tmp_path):
    def f(x):
        for _ in range(3000):
            x = np.sin(x)
        return x
    assert len(graph_def(f, (1.0,), {})) > 3000 * 20


# ----- the server ---------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_the_server_answers(tmp_path):
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    with SummaryWriter(run) as w:
        w.add_graph(grad(loss), *ARGS)
        gradient = grad(loss)(*ARGS)
        for i in range(4):
            w.add_scalar("loss", 1.0 / (i + 1), i)
            w.add_histogram("gradients", gradient, i)
    port = free_port()
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir",
                               str(tmp_path), "--port", str(port), "--host", "127.0.0.1", "--load_fast",
                               "false"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path, **query):
        url = f"http://127.0.0.1:{port}/data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()

    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and server.poll() is None:
            try:
                if "run" in json.loads(ask("runs")):
                    break
            except OSError:
                pass
            time.sleep(0.2)
        points = json.loads(ask("plugin/scalars/scalars", run="run", tag="loss"))
        assert [p[1:] for p in points] == [[i, pytest.approx(1 / (i + 1))] for i in range(4)]
        assert set(json.loads(ask("plugin/histograms/tags"))["run"]) == {"gradients/w/0", "gradients/w/1"}
        steps = json.loads(ask("plugin/histograms/histograms", run="run", tag="gradients/w/0"))
        assert [(s[1], sum(bucket[2] for bucket in s[2])) for s in steps] == [(i, 12.0) for i in range(4)]
        graph = ask("plugin/graphs/graph", run="run", limit_attr_size=1024, large_attrs_key="_too_large")
        assert 'name: "gradients/hidden/' in graph and 'name: "params/w/1"' in graph
    finally:
        server.terminate()
        server.wait()


def test_nothing_but_numpy_is_imported():
    code = ("import functrans.tensorboard as t, sys, tempfile; "
            "w = t.SummaryWriter(tempfile.mkdtemp()); w.add_histogram('a', [1.0], 0); w.close(); "
            "print(sorted({m.split('.')[0] for m in sys.modules} & {'tensorflow', 'tensorboard', "
            "'google', 'torch', 'scipy'}))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ----- wrong use ----------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path):
    with SummaryWriter(tmp_path) as w:
        Held.writer, Held.folder = w, tmp_path
        yield w


class Held:
    writer: SummaryWriter
    folder: object


@case(E.ArgumentError, "logdir=3", "path")
def logdir_that_is_no_path():
    SummaryWriter(3)  # BAD


@case(E.ArgumentError, "logdir=''")
def logdir_that_is_empty():
    SummaryWriter("")  # BAD


@case(E.LogdirError, "a_file", "folder")
def logdir_that_is_a_file():
    (Held.folder / "a_file").write_text("x")
    SummaryWriter(Held.folder / "a_file")  # BAD


@case(E.ClosedError, "is closed")
def closed():
    Held.writer.close()
    Held.writer.add_scalar("a", 1.0, 0)  # BAD


@case(E.ClosedError, "is closed")
def closed_graph():
    Held.writer.close()
    Held.writer.add_graph(np.sin, 1.0)  # BAD


@case(E.ArgumentError, "step=1.5", "integer")
def step_that_is_a_float():
    Held.writer.add_scalar("a", 1.0, 1.5)  # BAD


@case(E.ArgumentError, "step=-1")
def step_below_zero():
    Held.writer.add_histogram("a", np.ones(3), -1)  # BAD


@case(E.ArgumentError, "step=True")
def step_that_is_a_bool():
    Held.writer.add_scalar("a", 1.0, True)  # BAD


@case(E.ArgumentError, "tag=7")
def tag_that_is_a_number():
    Held.writer.add_scalar(7, 1.0, 0)  # BAD


@case(E.ShapeError, "'a'", "float64[2]", "add_histogram")
def scalar_of_two():
    Held.writer.add_scalar("a", np.ones(2), 0)  # BAD


@case(E.DtypeError, "'a'", "complex128", "np.abs")
def complex_scalar():
    Held.writer.add_scalar("a", 1j, 0)  # BAD


@case(E.DtypeError, "'a'", "str")
def histogram_of_text():
    Held.writer.add_histogram("a", "text", 0)  # BAD


@case(E.ArgumentError, "'a'", "no leaves")
def histogram_of_nothing():
    Held.writer.add_histogram("a", {}, 0)  # BAD


@case(E.ConcretizationError, "'a'", "traced", "functrans.tag")
def traced_scalar():
    def f(x):
        Held.writer.add_scalar("a", x, 0)  # BAD
        return x
    jit(f)(1.0)


@pytest.mark.parametrize("name", case)
def test_wrong_use(name, writer):
    case.check(name)


def test_a_writer_cannot_be_pickled(writer):
    import pickle
    with pytest.raises(E.ArgumentError, match="open file"):
        pickle.dumps(writer)
    assert "closed" not in repr(writer) and ft.tensorboard.SummaryWriter is SummaryWriter
    assert tree.leaves(writer) == [writer]
