"""The monitor: a function that is called as before, and what it saw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..api.compilation import Jitted
from ..api.derivatives import gradient_of
from ..calling.staging import Traced, api, argument_names, check_callable, name_of, own_lines, rewriting
from ..trace.tracer import Tracer
from ..tree.keys import path_words
from .collect import Key, collect
from .layers import Layer, Rows, Series, series
from .problems import Judge, names_of
from .tags import tag_scopes

EARLY, OFTEN = 16, 128      # looks after each of which problems are searched; later on, after so many
# How much of the time looking may take; of a call, and of the Python code for one that is looked at.
SHARE, CALL_NS, LOOK_NS = 0.05, 3e3, 2.5e3
MOST = 1 << 16              # records that are kept; beyond, every other one goes


class _Watched(Jitted):
    """The function compiled with statistics as one more result."""

    def __init__(self, fun: Callable, bins: bool):
        given = fun if isinstance(fun, Jitted) else None
        super().__init__(fun if given is None else given.fun, given.static_argnums if given else (),
                         given.static_argnames if given else (), 256)
        self.watched, self.bins = fun, bins

    def _trace(self, statics, leaves, treedef, avals) -> Traced:
        with own_lines(), rewriting(tag_scopes):
            traced = super()._trace(statics, leaves, treedef, avals)
        out = traced.out_tree.unflatten(list(range(len(traced.jaxpr.outs))))
        kinds = [a.dtype.kind for a in traced.jaxpr.out_avals]
        results = [(i, Key(name, "gradient", True)) for i, name in gradient_leaves(self.watched, out)
                   if kinds[i] in "fc"]
        jaxpr, layout = collect(traced.jaxpr, results, self.bins)
        if not layout.rows:
            raise errors.TagError(
                f"monitor: there is nothing to look at in {name_of(self.watched)}.",
                "Mark values with functrans.tag('name', x), put them into functrans.name_scope('name'), or "
                "monitor a gradient: monitor(grad(f)).")
        return traced._replace(jaxpr=jaxpr, out_tree=tree.structure((out, Rows(layout, 0))), n_aux=1)


def gradient_leaves(fun: Any, out: Any) -> list[tuple[int, str]]:
    """Which results of ``grad(f)`` or ``value_and_grad(f)`` are gradients, and by which parameter.

    ``out`` has the numbers of the results in their places.
    """
    made = gradient_of(fun)
    if made is None:
        return []
    if made.kind == "value_and_grad":
        out = out[1]
    elif made.has_aux:
        out = out[0]
    name = argument_names(made.fun)
    found = []
    for path, i in tree.flatten_with_path(out)[0]:
        words = path_words(path)
        if made.argnames is None and isinstance(made.argnums, int):
            words = words or [name(made.argnums)]
        elif made.argnames is None:
            words[0] = name(made.argnums[int(words[0])])
        found.append((i, "/".join(words or [str(made.argnames)])))
    return found


class Monitor:
    """A function that records statistics of its layers at each call; see ``monitor``.

    Attributes:
      layers: names of what is tagged, in the order of the forward pass.
      parameters: names of the parameters whose gradients are results.
      step: how often it was called.

    >>> import numpy as np
    >>> from functrans import grad, monitor, tag
    >>> watched = monitor(grad(lambda w: np.sum(tag("squares", w ** 2))))
    >>> _ = watched(np.array([1.0, -2.0]))
    >>> watched.step, watched.layers, float(watched["squares"].activation.max[0])
    (1, ['squares'], 4.0)
    """

    def __init__(self, fun: Callable, every: int | None, histograms: int, vanishing: float, exploding: float,
                 warn: bool):
        self.fun = fun
        self.every, self.histograms, self.vanishing = every, histograms, vanishing
        self._judge = Judge(vanishing, exploding, warn)
        self._compile()
        self._records: list[Rows] = []
        self.step = 0
        self.__wrapped__, self.__name__ = fun, f"monitor({name_of(fun)})"
        self.__doc__ = getattr(fun, "__doc__", None)
        self.reset()

    def _compile(self) -> None:
        self._plain, self._full = _Watched(self.fun, False), _Watched(self.fun, True)
        self._bare = self.fun if isinstance(self.fun, Jitted) else Jitted(self.fun, (), (), 256)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_plain", "_full", "_bare")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compile()

    @api
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = self.step
        if step >= EARLY:
            if not self.every:
                self.every = self._pace(args, kwargs)
            if step % self.every:
                self.step = step + 1
                return self._bare(*args, **kwargs)
        look = len(self._records)
        full = self.histograms and not look % self.histograms
        out, rows = (self._full if full else self._plain)(*args, **kwargs)
        if type(rows.matrix) is Tracer:
            raise errors.ConcretizationError(
                f"{self.__name__} is called inside of another transform: what it sees is not known there.",
                "Put the monitor outside, monitor(jit(step)): tags are seen through all transforms.")
        rows.step = step
        self._records.append(rows)
        self.step = step + 1
        if look < EARLY or not look % OFTEN:
            self._look()
        return out

    def _pace(self, args: tuple, kwargs: dict[str, Any]) -> int:
        """How many calls to one that is looked at, so that looking costs a small part, by the plans'
        estimates."""
        bare, watched = [f._find(args, kwargs)[0].run_pass.compiled().cost for f in (self._bare, self._plain)]
        return max(1, math.ceil((watched - bare + LOOK_NS) / (SHARE * (bare + CALL_NS))))

    def reset(self) -> None:
        """Forgets what was recorded, and which warnings were given."""
        self.step = self._looked = self._written = 0
        self._records = []
        self._judge.reset()

    # ----- what was seen ----------------------------------------------------------------------

    @property
    def layers(self) -> list[str]:
        return self._names(False)

    @property
    def parameters(self) -> list[str]:
        return self._names(True)

    def _names(self, parameters: bool) -> list[str]:
        return names_of(self._records[-1].layout, parameters) if self._records else []

    @api
    def __getitem__(self, name: str) -> Layer:
        """What was seen of a layer or, where no layer has the name, of a parameter."""
        for parameter in (False, True):
            found = [series(self._records, Key(name, kind, parameter))
                     for kind in ("value", "gradient", "tangent")]
            if any([s is not None for s in found]):
                return Layer(name, *found)
        raise errors.TagError(
            f"the monitor has seen no layer {name!r}.",
            f"It has the layers {', '.join(self.layers) or '(none)'} and the parameters "
            f"{', '.join(self.parameters) or '(none)'}." if self._records else "Call it first.")

    def __iter__(self):
        return iter([*self.layers, *[p for p in self.parameters if p not in self.layers]])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def gradients(self) -> dict[str, Series]:
        """The Series of gradients, of layers or, where none is tagged, of parameters."""
        for names, parameter in ((self.layers, False), (self.parameters, True)):
            found = {n: series(self._records, Key(n, "gradient", parameter)) for n in names}
            kept = {n: s for n, s in found.items() if s is not None}
            if kept:
                return kept
        return {}

    def __str__(self) -> str:
        """A table of the last step."""
        lines = [f"{self.__name__}: {self.step} steps",
                 f"{'layer':24} {'what':10} {'norm':>10} {'rms':>10} {'zeros':>7} {'not finite':>10}"]
        for name in self:
            layer = self[name]
            for what, s in (("activation", layer.activation), ("gradient", layer.gradient),
                            ("tangent", layer.tangent)):
                if s is not None:
                    lines.append(f"{name[:24]:24} {what:10} {s.norm[-1]:10.3g} {s.rms[-1]:10.3g} "
                                 f"{100 * s.zeros[-1]:6.1f}% {int(s.nonfinite[-1]):10d}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{self.__name__}: {self.step} steps>"

    # ----- problems ---------------------------------------------------------------------------

    def _look(self) -> None:
        """At what has come since it was last done."""
        self._judge.look(self._records[self._looked:])
        if len(self._records) >= MOST:
            del self._records[1:-1:2]
        self._looked = len(self._records)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Pairs (layer, ``"vanishing"``, ``"exploding"`` or ``"nonfinite"``) that were met so far."""
        self._look()
        return sorted(self._judge.met)

    # ----- where it goes ----------------------------------------------------------------------

    def write(self, writer: Any, prefix: str = "monitor") -> None:
        """Adds what was recorded since the last ``write`` to a ``functrans.tensorboard.SummaryWriter``.

        For each layer and step: ``<prefix>/<layer>/activation_rms``, ``.../gradient_norm`` and so on; and the
        histograms of the steps that have them.
        """
        numbers: dict[int, dict[str, float]] = {}
        rows: dict[int, dict[str, np.ndarray]] = {}
        for name in self:
            layer = self[name]
            for what, s in (("activation", layer.activation), ("gradient", layer.gradient),
                            ("tangent", layer.tangent)):
                if s is None:
                    continue
                head = f"{prefix}/{name}/{what}"
                new = np.flatnonzero(s.steps >= self._written).tolist()
                for i in new:
                    step = int(s.steps[i])
                    if step in s.histograms:
                        row = np.concatenate([s.rows[i], s.histograms[step][1]])
                        rows.setdefault(step, {})[f"{head}/histogram"] = row
                for part in ("norm", "rms", "zeros", "nonfinite"):
                    values, tag = getattr(s, part).tolist(), f"{head}/{part}"
                    for i in new:
                        numbers.setdefault(int(s.steps[i]), {})[tag] = values[i]
        for step in sorted(numbers):
            writer.add_statistics(step, numbers[step], rows.get(step, {}))
        self._written = self.step

    @api
    def plot(self, path: Any = None) -> Any:
        """A picture over training: gradients and activations by layer. Needs matplotlib.

        Args:
          path: where to save it, e.g. ``"training.png"``; None: it is not saved.

        Returns:
          The matplotlib Figure.
        """
        from .plot import draw
        return draw(self, path)


@api
def monitor(fun: Callable, *, every: int | None = None, histograms: int = 50, vanishing: float = 1e-3,
            exploding: float = 1e3, warn: bool = True) -> Monitor:
    """``fun``, compiled as by ``jit``, and what its layers do meanwhile.

    Args:
      fun: e.g. ``grad(loss)``, ``value_and_grad(loss)``, or a whole training step, jitted or not. Layers
        are what ``functrans.tag`` marks; a function without tags has its ``name_scope``s as layers: what
        leaves the scope. Results of ``grad`` and ``value_and_grad`` are looked at as well, under the key
        paths of the parameters.
      every: one call of so many is looked at, besides the first 16; the others cost what ``jit(fun)`` does.
        None: as often as takes less than about a tenth of the time, by the plans' estimates; that is every
        call where one takes more than 0.1 ms.
      histograms: of the calls that are looked at, one of so many also gives histograms; 0: none.
      vanishing: warn of a layer whose gradient has less than this times the rms of that of the last layer
        (without layers: of a parameter's, against the largest).
      exploding: warn of a gradient with more than this times the rms of the last layer's, or of its own at
        the first step.
      warn: whether to warn at all, by ``MonitorWarning``, once for each layer and problem. The first steps
        are all looked at, later ones in batches; ``problems`` lists what was found.

    Returns:
      A ``Monitor``: call it like ``fun``. Values are those of ``jit(fun)``, bit for bit where layers are
      tags; a scope that stands for a tag may change the last bits of sums, as its value is kept in memory.
      ``m["layer"].gradient.norm`` and so on are arrays over the steps, ``print(m)`` shows the last one,
      ``m.plot("training.png")`` draws, ``m.write(writer)`` sends all to TensorBoard.

    Statistics are computed by the program itself, over whole arrays: all examples of a ``vmap``, all turns of
    a loop.

    Raises:
      functrans.errors.TagError: there is neither a tag nor a scope nor a gradient, or two lines use one name.

    >>> import numpy as np
    >>> from functrans import monitor, tag, value_and_grad
    >>> def loss(w, x):
    ...     h = tag("hidden", np.maximum(x @ w["first"], 0))
    ...     return np.mean((h @ w["second"]) ** 2)
    >>> step = monitor(value_and_grad(loss))
    >>> w = {"first": np.array([[1.0, -1.0]]), "second": np.ones(2)}
    >>> value, gradient = step(w, np.array([[2.0], [4.0]]))
    >>> step.layers, step.parameters
    (['hidden'], ['first', 'second'])
    >>> step["hidden"].activation.zeros, step["first"].gradient.max
    (array([0.5]), array([20.]))
    """
    check_callable(fun, "monitor")
    if isinstance(fun, Monitor):
        raise errors.ArgumentError("monitor: the function is monitored already.", "Use that monitor.")
    for name, n, least in (("every", 1 if every is None else every, 1), ("histograms", histograms, 0)):
        if isinstance(n, bool) or not isinstance(n, int) or n < least:
            raise errors.ArgumentError(f"monitor: {name}={n!r}.", f"Give an integer of at least {least}.")
    for name, x in (("vanishing", vanishing), ("exploding", exploding)):
        if isinstance(x, (bool, str)) or not isinstance(x, (int, float, np.number)) or not x > 0:
            raise errors.ArgumentError(f"monitor: {name}={x!r}.", "Give a positive factor.")
    return Monitor(fun, every, histograms, float(vanishing), float(exploding), bool(warn))


__all__ = ["Monitor", "monitor"]
