"""Learns exclusive or with networks of two inputs, three hidden units and one output, in 500 steps.

How a single network ends depends on its first weights. So 256 of them are trained side by side: ``vmap``
makes the training of one network, all 500 steps of it, that of all.

    python examples/xor.py                    # trains, prints, writes examples/xor.png
    python examples/xor.py --output out.png   # writes the picture elsewhere
"""

import argparse
from pathlib import Path

import numpy as np

from functrans import jit, optimizers, random, tree, vmap

try:
    import matplotlib
except ImportError as e:
    raise SystemExit(f"examples/xor.py needs the package {e.name}. From the folder of the clone, "
                     "run:\n    pip install -e '.[examples]'") from None

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGETS = np.array([0.0, 1.0, 1.0, 0.0])
STEPS, NETWORKS = 500, 256


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def init(key):
    first, second = random.split(key)
    return {"hidden": {"w": random.normal(first, (2, 3)), "b": np.zeros(3)},
            "output": {"w": random.normal(second, (3,)), "b": 0.0}}


def predict(params, x):
    h = sigmoid(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return sigmoid(h @ params["output"]["w"] + params["output"]["b"])


def loss(params):
    return np.mean((predict(params, INPUTS) - TARGETS) ** 2)


def train(key):
    """Of one network: its weights, and the loss at each step."""
    found = optimizers.minimize(loss, init(key), optimizers.adam(0.1), STEPS)
    return found.params, found.losses


def draw(params, losses, solved, chosen, file):
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for group, colour, label in ((solved, "tab:blue", "learned"), (~solved, "tab:red", "stuck")):
        left.plot(losses[group].T, color=colour, linewidth=0.6, alpha=0.25)
        left.plot([], color=colour, label=f"{np.sum(group)} networks {label}")
    left.plot(losses[chosen], color="black", label="the one at the right")
    left.set_yscale("log")
    left.set(xlabel="step", ylabel="mean squared error",
             title=f"{len(losses)} networks, each with other first weights")
    left.legend(frameon=False, loc="lower left")

    grid = np.linspace(-0.3, 1.3, 161)
    points = np.stack(np.meshgrid(grid, grid), axis=-1)
    values = predict(tree.map(lambda x: x[chosen], params), points)
    shown = right.contourf(grid, grid, values, levels=np.linspace(0, 1, 21), cmap="RdBu_r")
    right.contour(grid, grid, values, levels=[0.5], colors="black", linewidths=1)
    for (a, b), target in zip(INPUTS, TARGETS, strict=True):
        right.plot(a, b, "o", color="white", markeredgecolor="black", markersize=18)
        right.text(a, b, f"{target:.0f}", ha="center", va="center_baseline")
    right.set(xlabel="first input", ylabel="second input", aspect="equal", title="What one of them answers")
    figure.colorbar(shown, ax=right, ticks=[0, 0.5, 1])
    left.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the first weights")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("xor.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)

    params, losses = jit(vmap(train))(random.split(random.key(args.seed), NETWORKS))
    answers = vmap(predict, (0, None))(params, INPUTS)
    solved = np.all((answers > 0.5) == (TARGETS > 0.5), axis=1)
    chosen = np.argsort(losses[:, -1])[NETWORKS // 2]
    print(f"{np.sum(solved)} of {NETWORKS} networks have learned exclusive or after {STEPS} steps")
    print(f"the median network's loss is {losses[chosen, -1]:.5f}; its answers:")
    for (a, b), answer in zip(INPUTS, answers[chosen], strict=True):
        print(f"  {a:.0f} xor {b:.0f} = {answer:.3f}")
    draw(params, losses, solved, chosen, args.output)
    print(f"picture: {args.output}")


if __name__ == "__main__":
    main()
