"""A deep sigmoid network whose gradients vanish, as a monitor shows, and what helps.

Ten layers of sigmoids do not learn scikit-learn's scanned digits (8 x 8 pixels): each layer passes back a
fraction of the gradient that it gets, so the first ones get next to nothing. The same net learns with relus
and He initialisation, or with sigmoids behind normalisations. The monitor sees the difference at the first
step.

    python examples/vanishing.py                    # trains three nets, writes examples/vanishing.png
    python examples/vanishing.py --output out.png   # writes the picture elsewhere
    python examples/vanishing.py --logdir runs      # also writes event files for TensorBoard
"""

import argparse
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np

from functrans import jit, monitor, name_scope, tag, tree, value_and_grad
from functrans.monitoring import MonitorWarning
from functrans.tensorboard import SummaryWriter

try:
    import matplotlib
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError as e:
    raise SystemExit(f"examples/vanishing.py needs the package {e.name}. From the folder of the clone, "
                     "run:\n    pip install -e '.[examples]'") from None

LAYERS, WIDTH, BATCH, CLASSES = 10, 32, 64, 10


# ----- three nets ---------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0)


def normalised(z):
    """Each unit with mean 0 and variance 1 over the batch."""
    return (z - np.mean(z, axis=0)) / np.sqrt(np.var(z, axis=0) + 1e-5)


NETS = {                # activation, variance of a weight times the inputs, learning rate
    "sigmoid": (sigmoid, 1.0, 0.5),
    "relu, He initialisation": (relu, 2.0, 0.05),
    "sigmoid behind normalisation": (lambda z: sigmoid(normalised(z)), 1.0, 0.5),
}


def init(rng, n_inputs, variance):
    sizes = [n_inputs, *[WIDTH] * LAYERS, CLASSES]
    return [{"w": rng.normal(0, np.sqrt(variance / n), (n, m)), "b": np.zeros(m)}
            for n, m in pairwise(sizes)]


def scores(activation, params, x):
    h = x
    for i, layer in enumerate(params[:-1], 1):
        with name_scope(f"layer{i}"):
            h = tag("out", activation(h @ layer["w"] + layer["b"]))
    return h @ params[-1]["w"] + params[-1]["b"]


def cross_entropy(z, y):
    """Mean over the batch; y is one-hot."""
    z = z - np.max(z, axis=-1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - np.sum(y * z, axis=-1))


# ----- training -----------------------------------------------------------------------------------------


def train(name, data, steps, seed, logdir):
    """Returns the monitor, the losses, and the accuracy on the test data."""
    activation, variance, rate = NETS[name]
    x, x_test, labels, labels_test = data
    rng = np.random.default_rng(seed)
    params = init(rng, x.shape[1], variance)
    y = np.eye(CLASSES)[labels]

    def loss(params, x, y):
        return cross_entropy(scores(activation, params, x), y)

    step = monitor(value_and_grad(loss), every=1)
    losses = []
    for _ in range(steps):
        batch = rng.integers(0, len(x), BATCH)
        value, grads = step(params, x[batch], y[batch])
        params = tree.map(lambda p, g: p - rate * g, params, grads)
        losses.append(float(value))
    if logdir is not None:
        with SummaryWriter(logdir / name.replace(", ", "_").replace(" ", "_")) as writer:
            writer.add_graph(step.fun, params, x[batch], y[batch])
            for i, value in enumerate(losses):
                writer.add_scalar("loss", value, i)
            step.write(writer)
    guesses = jit(lambda p, x: np.argmax(scores(activation, p, x), axis=-1))(params, x_test)
    return step, losses, float(np.mean(guesses == labels_test))


# ----- the picture --------------------------------------------------------------------------------------


def draw(results, path):
    """Above: gradients from layer to layer; below: the losses."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(2, len(results), figsize=(13, 7), sharey="row", layout="constrained")
    for (name, (step, losses, accuracy)), above, below in zip(results.items(), *rows, strict=True):
        layers = step.layers
        for at, colour in ((0, "0.6"), (len(losses) // 2, "tab:blue"), (len(losses) - 1, "tab:red")):
            rms = [step[n].gradient.rms[at] for n in layers]
            above.plot(range(1, len(layers) + 1), rms, marker="o", color=colour, label=f"step {at}")
        above.set_yscale("log")
        above.set_xticks(range(1, len(layers) + 1))
        above.set_xlabel("layer, from the input to the output")
        found = sorted({problem for _, problem in step.problems})
        verdict = ", ".join(found) + " gradients" if found else "no problem found"
        above.set_title(f"{name}\n{verdict}", fontsize=11)
        below.plot(losses, color="0.8", linewidth=0.6)
        width = max(len(losses) // 30, 1)
        smooth = np.convolve(losses, np.ones(width) / width, "valid")
        below.plot(np.arange(width - 1, len(losses)), smooth, color="tab:blue")
        below.set_xlabel("step")
        below.set_title(f"test accuracy {100 * accuracy:.1f} %", fontsize=11)
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
    rows[0][0].set_ylabel("rms of the gradient of a layer's output")
    rows[0][0].legend(frameon=False, fontsize=9)
    rows[1][0].set_ylabel("cross-entropy")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600, help="minibatches for each net (default 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("vanishing.png"),
                        help="where the picture goes (default: beside this file)")
    parser.add_argument("--logdir", type=Path, help="folder for TensorBoard's event files (default: none)")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps must be at least 1")

    images, labels = load_digits(return_X_y=True)
    data = train_test_split(images / 16.0 - 0.5, labels, test_size=0.2, stratify=labels,
                            random_state=args.seed)
    results = {}
    for name in NETS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MonitorWarning)
            results[name] = train(name, data, args.steps, args.seed, args.logdir)
        step, losses, accuracy = results[name]
        first, last = (step[n].gradient.rms[0] for n in (step.layers[0], step.layers[-1]))
        print(f"{name}: loss {np.mean(losses[-50:]):.3f}, test accuracy {accuracy:.3f}; at the first step, "
              f"the first layer's gradient is {first / last:.1g} times the last one's")
        for w in caught[:1]:
            print(f"  {len(caught)} warnings, the first: {w.message}")
    draw(results, args.output)
    print(f"picture: {args.output}")
    return results


if __name__ == "__main__":
    main()
