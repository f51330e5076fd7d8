"""Fits a line by gradient descent, until the cost is below 0.01.

The data are the 569 tumours of the breast-cancer set that comes with scikit-learn: the mean perimeter of a
tumour's cell nuclei follows from their mean radius. Both are standardised, the cost is half the mean squared
error, and its gradient comes from functrans.

    python examples/linear_regression.py                    # writes examples/linear_regression.png
    python examples/linear_regression.py --output out.png   # writes the picture elsewhere
"""

import argparse
from pathlib import Path

import numpy as np

from functrans import optimizers

try:
    import matplotlib
    from sklearn.datasets import load_breast_cancer
except ImportError as e:
    raise SystemExit(f"examples/linear_regression.py needs the package {e.name}. From the folder of the "
                     "clone, run:\n    pip install -e '.[examples]'") from None

GOAL = 0.01


def load():
    """(radius, perimeter), each [569], and the two units: (mean, deviation) in the data's own."""
    data = load_breast_cancer()
    names = list(data.feature_names)
    radius, perimeter = (data.data[:, names.index(n)] for n in ("mean radius", "mean perimeter"))
    units = [(v.mean(), v.std()) for v in (radius, perimeter)]
    return [(v - m) / s for v, (m, s) in zip((radius, perimeter), units, strict=True)], units


def predict(params, x):
    return params["slope"] * x + params["intercept"]


def fit(x, y, rate, steps):
    """(parameters, one after another, costs): stops when the cost is below GOAL."""
    def cost(params):
        return 0.5 * np.mean((predict(params, x) - y) ** 2)

    path = [{"slope": 0.0, "intercept": 0.0}]
    costs = []

    def keep(step, params, value):
        path.append(params)
        costs.append(value)
        return cost(params) < GOAL
    optimizers.minimize(cost, path[0], optimizers.sgd(rate), steps, keep)
    return path, [*costs, cost(path[-1])]


def draw(x, y, units, path, costs, file):
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    (mx, sx), (my, sy) = units
    left.plot(mx + sx * x, my + sy * y, ".", color="0.6", markersize=4, label="tumours")
    ends = np.array([x.min(), x.max()])
    shown = np.unique(np.geomspace(1, len(path), 5).astype(int)) - 1
    for i, shade in zip(shown, np.linspace(0.25, 1.0, len(shown)), strict=True):
        left.plot(mx + sx * ends, my + sy * predict(path[i], ends), label=f"step {i}",
                  color=matplotlib.colormaps["Blues"](shade))
    left.set(xlabel="mean radius of the nuclei", ylabel="mean perimeter", title="The line on its way")
    left.legend(frameon=False)
    right.plot(costs, color="tab:blue")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.axhline(GOAL, color="0.6", linestyle="--", linewidth=1)
    right.annotate(f"goal: {GOAL}", (0, GOAL), xytext=(2, 4), textcoords="offset points", color="0.4")
    right.set_yscale("log")
    right.set(xlabel="step", ylabel="half the mean squared error", title="Cost")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--steps", type=int, default=1000, help="at most so many")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("linear_regression.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)

    (x, y), units = load()
    path, costs = fit(x, y, args.rate, args.steps)
    (slope, intercept), *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y)
    least = 0.5 * np.mean((slope * x + intercept - y) ** 2)
    print(f"cost {costs[-1]:.5f} after {len(costs) - 1} steps (least possible: {least:.5f})")
    print(f"slope {path[-1]['slope']:.4f}, intercept {path[-1]['intercept']:.4f} "
          f"(least squares: {slope:.4f}, {intercept:.4f})")
    draw(x, y, units, path, costs, args.output)
    print(f"picture: {args.output}")


if __name__ == "__main__":
    main()
