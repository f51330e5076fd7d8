"""Trains a two-layer classifier on scanned digits, then looks for digits that seem mislabelled.

The data are the 1,797 scans of handwritten digits (8 x 8 pixels) that come with scikit-learn. The
loss is ordinary NumPy; functrans differentiates it, compiles it, and batches it for the last part:
the norm of each example's own gradient says how hard that example pulls at the trained weights.

    python examples/digits.py                    # trains, prints, writes examples/digits.png
    python examples/digits.py --output out.png   # writes the picture elsewhere
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from functrans import grad, jit, optimizers, value_and_grad, vmap

try:
    import matplotlib
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from tqdm import tqdm
except ImportError as e:
    raise SystemExit(f"examples/digits.py needs the package {e.name}. From the folder of the clone, "
                     "run:\n    pip install -e '.[examples]'") from None

HIDDEN, BATCH, CLASSES = 128, 64, 10


# ----- the model: plain NumPy -------------------------------------------------------------------


def init(rng, n_inputs):
    """Random weights, scaled so that each layer keeps the size of its input."""
    return {
        "hidden": {"w": rng.normal(0, np.sqrt(2 / n_inputs), (n_inputs, HIDDEN)),
                   "b": np.zeros(HIDDEN)},
        "output": {"w": rng.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, CLASSES)),
                   "b": np.zeros(CLASSES)},
    }


def log_probabilities(params, x):
    h = np.maximum(x @ params["hidden"]["w"] + params["hidden"]["b"], 0)
    z = h @ params["output"]["w"] + params["output"]["b"]
    z = z - np.max(z, axis=-1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))


def loss(params, x, y):
    """Mean cross-entropy; y is one-hot. One example (without a batch axis) works as well."""
    return -np.mean(np.sum(y * log_probabilities(params, x), axis=-1))


# ----- each example's own gradient ------------------------------------------------------------------


def gradient_norm(params, x, y):
    """Length of the gradient of one example's loss with respect to all weights together."""
    return optimizers.global_norm(grad(loss)(params, x, y))


# ----- training ------------------------------------------------------------------------------------


def load(seed):
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    return train_test_split(images, labels, np.arange(len(labels)), test_size=0.2, stratify=labels,
                            random_state=seed)


def train(x, y, x_test, labels_test, steps, seed):
    """Returns the weights and the learning curve."""
    rng = np.random.default_rng(seed)
    params = init(rng, x.shape[1])
    adam = optimizers.adam(optimizers.cosine_decay_schedule(3e-3, steps))
    state = adam.init(params)

    @jit(donate_argnums=(0, 1))         # written over by the new ones
    def step(params, state, x, y):
        value, grads = value_and_grad(loss)(params, x, y)
        updates, state = adam.update(grads, state)
        return optimizers.apply_updates(params, updates), state, value

    predict = jit(log_probabilities)
    curve = {"loss": [], "at": [], "accuracy": []}
    accuracy = 0.0
    order = np.empty(0, int)
    every = max(steps // 60, 1)
    with tqdm(range(steps), unit="step", disable=not sys.stderr.isatty()) as bar:
        for i in bar:
            if len(order) < BATCH:
                order = rng.permutation(len(x))
            batch, order = order[:BATCH], order[BATCH:]
            params, state, value = step(params, state, x[batch], y[batch])
            curve["loss"].append(float(value))
            if i % every == 0 or i == steps - 1:
                accuracy = np.mean(np.argmax(predict(params, x_test), axis=-1) == labels_test)
                curve["at"].append(i + 1)
                curve["accuracy"].append(float(accuracy))
                bar.set_postfix(loss=f"{value:.4f}", test=f"{accuracy:.4f}")
    return params, curve


# ----- the picture -----------------------------------------------------------------------------------


def draw(curve, images, labels, guesses, norms, held_out, path):
    """Learning curve at the left; at the right the digits with the largest gradients."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows, columns = 4, 6
    figure = plt.figure(figsize=(13, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    top, bottom = left.subplots(2, 1, sharex=True)

    steps = np.arange(1, len(curve["loss"]) + 1)
    values = np.array(curve["loss"])
    width = max(len(values) // 40, 1)
    smooth = np.convolve(values, np.ones(width) / width, "valid")
    top.plot(steps, values, color="0.8", linewidth=0.6, label="each minibatch")
    top.plot(steps[width - 1:], smooth, color="tab:blue", label=f"mean of {width} steps")
    top.set_yscale("log")
    top.set_ylabel("training loss")
    top.legend(frameon=False)
    top.set_title("Learning curve", fontsize=11)

    wrong = 100 * (1 - np.array(curve["accuracy"]))
    bottom.plot(curve["at"], wrong, color="tab:red")
    bottom.set_yscale("log")
    bottom.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    bottom.minorticks_off()
    bottom.set_ylabel("test errors (%)")
    bottom.set_xlabel("step")
    bottom.annotate(f"{wrong[-1]:.1f} %", (curve["at"][-1], wrong[-1]), xytext=(0, 6),
                    textcoords="offset points", ha="right", color="tab:red")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)

    right.suptitle("Largest gradient norms (below each digit): label → guess, red where they differ",
                   fontsize=11)
    worst = np.argsort(-norms)[:rows * columns]
    for axes, i in zip(right.subplots(rows, columns).flat, worst, strict=True):
        axes.imshow(images[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{labels[i]} → {guesses[i]}", fontsize=10, pad=3,
                       color="tab:red" if labels[i] != guesses[i] else "black")
        axes.set_xlabel(f"{norms[i]:.2g}{'' if held_out[i] else ' (trained on)'}", fontsize=8, labelpad=2)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="minibatches (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and minibatches")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("digits.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps must be at least 1")

    x, x_test, labels, labels_test, index, index_test = load(args.seed)
    one_hot = np.eye(CLASSES)
    began = time.perf_counter()
    params, curve = train(x, one_hot[labels], x_test, labels_test, args.steps, args.seed)
    seconds = time.perf_counter() - began
    print(f"{args.steps} steps in {seconds:.1f} s, test accuracy {curve['accuracy'][-1]:.4f}")

    images, all_labels = np.concatenate([x, x_test]), np.concatenate([labels, labels_test])
    numbers = np.concatenate([index, index_test])
    held_out = np.arange(len(images)) >= len(x)
    norms = jit(vmap(gradient_norm, (None, 0, 0)))(params, images, one_hot[all_labels])
    guesses = np.argmax(log_probabilities(params, images), axis=-1)
    print("largest gradients (scan number: label, guess, norm):")
    for i in np.argsort(-norms)[:5]:
        print(f"  {numbers[i]:4d}: {all_labels[i]}, {guesses[i]}, {norms[i]:.2f}")
    draw(curve, images, all_labels, guesses, norms, held_out, args.output)
    print(f"picture: {args.output}")
    return curve["accuracy"][-1]


if __name__ == "__main__":
    main()
