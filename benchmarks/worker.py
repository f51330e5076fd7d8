"""One library in one process: ``compare.py`` starts it and asks for bursts of a workload.

Reads one JSON request per line and answers each with one line. It runs with the interpreter of the
library it measures, so it needs nothing but that library and NumPy.
"""

from __future__ import annotations

import importlib
import json
import sys
import time

from backends import BACKENDS


def burst(call, wait, calls: int) -> float:
    """Seconds per call."""
    turns = range(calls)
    began = time.perf_counter()
    for _ in turns:
        out = call()
    wait(out)
    return (time.perf_counter() - began) / calls


def fingerprint(out) -> float:
    """The sum of the absolute values of all results, to compare libraries by."""
    import numpy
    if isinstance(out, dict):
        return sum(fingerprint(out[k]) for k in sorted(out))
    if isinstance(out, (tuple, list)):
        return sum(fingerprint(x) for x in out)
    return float(numpy.sum(numpy.abs(numpy.asarray(out, dtype=float))))


def serve(name: str, module: str, answer) -> None:
    backend = BACKENDS[name]()
    functions = importlib.import_module(module).FUNCTIONS
    answer({"version": str(backend.version)})
    call = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                call = functions[request["workload"]](backend, request["size"])
                began = time.perf_counter()
                out = call()
                backend.wait(out)
                first = time.perf_counter() - began
                once = burst(call, backend.wait, 1)
                calls = max(1, int(request["seconds"] / max(once, 1e-8)))
                if calls > 20:          # short calls: settle, then estimate again
                    once = burst(call, backend.wait, calls // 4)
                    calls = max(1, int(request["seconds"] / once))
                answer({"first": first, "calls": calls, "value": fingerprint(out)})
            elif request["do"] == "burst":
                answer({"seconds": burst(call, backend.wait, request["calls"])})
            elif request["do"] == "forget":
                call = None
                answer({})
        except Exception as e:
            answer({"error": f"{type(e).__name__}: {e}"})


if __name__ == "__main__":
    out = sys.stdout
    sys.stdout = sys.stderr             # what a library prints must not mix with the answers

    def answer(message: dict) -> None:
        print(json.dumps(message), file=out, flush=True)

    serve(sys.argv[1], sys.argv[2], answer)
