"""The picture of a monitor: gradients and activations by layer, over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors

_MOST_LABELS = 12


def draw(m: Any, path: Any) -> Any:
    """The Figure; saved where there is a path."""
    if not m.step:
        raise errors.TagError(f"{m!r} has recorded nothing yet.", "Call it first.")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise errors.MissingPackageError("Monitor.plot needs the package matplotlib.",
                                         "pip install matplotlib   (or functrans[examples])") from None
    gradients = m.gradients()
    activations = {n: a for n in m.layers if (a := m[n].activation) is not None}
    figure = Figure(figsize=(12, 8), layout="constrained")
    (over, profile), (values, spread) = figure.subplots(2, 2)
    _lines(over, gradients, "rms", "Gradient by layer, over training")
    over.set_ylabel("rms of the gradient")
    _positive(over)
    _profile(profile, gradients, m.vanishing)
    if activations:
        _lines(values, activations, "rms", "Activation by layer, over training", False)
        values.set_ylabel("rms of the activation")
        _positive(values)
    else:
        _lines(values, gradients, "zeros", "Zeros among gradients")
        values.set_ylabel("fraction of zeros")
    _spread(spread, gradients)
    for axes in (over, values):
        axes.set_xlabel("step")
    for axes in (over, profile, values, spread):
        axes.spines[["top", "right"]].set_visible(False)
    problems: dict[str, list[str]] = {}
    for name, problem in m.problems:
        problems.setdefault(problem, []).append(name)
    texts = [f"{p}: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
             for p, names in problems.items()]
    figure.suptitle("; ".join([f"{m.__name__}, {m.step} steps", *texts]), fontsize=12)
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _colours(n: int) -> Any:
    import matplotlib
    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, max(n, 1)))


def _positive(axes: Any) -> None:
    """A logarithmic axis, where values differ much."""
    values = np.array([y for line in axes.get_lines() for y in line.get_ydata()], float)
    values = values[np.isfinite(values) & (values > 0)]
    if values.size and values.max() > 10 * values.min():
        axes.set_yscale("log")


def _lines(axes: Any, found: dict[str, Any], what: str, title: str, legend: bool = True) -> None:
    """A line for each layer; those near the input are dark."""
    shown = set(list(found)[::-(-len(found) // _MOST_LABELS)]) if found else set()
    for colour, (name, s) in zip(_colours(len(found)), found.items(), strict=True):
        axes.plot(s.steps, getattr(s, what), color=colour, linewidth=1.3, label=name if name in
                  shown else None, marker="." if len(s) < 20 else None)
    axes.set_title(title, fontsize=11)
    if legend:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _profile(axes: Any, gradients: dict[str, Any], vanishing: float) -> None:
    """From the first layer to the last, at the first step, half-way and at the last."""
    names = list(gradients)
    steps = sorted({int(t) for s in gradients.values() for t in s.steps})
    picked = dict.fromkeys([steps[0], steps[len(steps) // 2], steps[-1]]) if steps else {}
    for colour, step in zip(("0.7", "tab:blue", "tab:red"), picked, strict=False):
        rms = [float(s.rms[np.searchsorted(s.steps, step)]) if step in s.steps else np.nan
               for s in gradients.values()]
        axes.plot(range(len(names)), rms, marker="o", color=colour, label=f"step {step}")
    _positive(axes)
    last = [float(s.rms[-1]) for s in gradients.values()]
    if last and np.isfinite(last[-1]) and last[-1] > 0:
        axes.axhline(vanishing * last[-1], color="tab:red", linestyle=":", linewidth=1,
                     label=f"{vanishing:g} of the last layer's")
    axes.set_xticks(range(len(names)), names, rotation=40 if len(names) > 4 else 0,
                    ha="right" if len(names) > 4 else "center", fontsize=8)
    axes.set_title("Gradient from the first layer to the last", fontsize=11)
    axes.set_ylabel("rms of the gradient")
    if names:
        axes.legend(fontsize=8, frameon=False)


def _spread(axes: Any, gradients: dict[str, Any]) -> None:
    """How large elements of gradients are, by layer, in the last histograms."""
    found = {n: s.histograms[max(s.histograms)] for n, s in gradients.items() if s.histograms}
    axes.set_title("Sizes of the gradients' elements (last histograms)", fontsize=11)
    if not found:
        axes.text(0.5, 0.5, "no histograms were made", ha="center", transform=axes.transAxes, color="0.5")
        return
    edges = np.arange(-24.0, 9.0, 0.5)
    rows = []
    for limits, counts in found.values():
        lower = np.concatenate([[-np.inf], limits[:-1]])
        inner = np.where(limits <= 0, -limits, lower)           # the limit nearer to zero
        with np.errstate(divide="ignore"):
            size = np.log10(np.clip(inner, 1e-30, 1e30))
        row = np.histogram(size, edges, weights=counts)[0]
        rows.append(row / max(row.sum(), 1))
    image = np.array(rows)
    used = np.flatnonzero(image.sum(0))
    low, high = (max(used[0] - 1, 0), used[-1] + 2) if len(used) else (0, len(edges) - 1)
    axes.pcolormesh(edges[low:high + 1], np.arange(len(found) + 1) - 0.5, image[:, low:high], cmap="Blues")
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.set_xlabel("log10 of the size")
