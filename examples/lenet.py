"""Trains LeNet on Fashion-MNIST: pictures of clothes, 28 x 28 pixels, ten classes.

The data are those of Debian's package dataset-fashion-mnist (60,000 pictures to train on, 10,000 to test)
when its files are there; if not, the 1,797 handwritten digits that come with scikit-learn, enlarged. The
network is functions of functrans.nn; value_and_grad differentiates the loss, functrans.optimizers has Adam,
jit compiles the whole step.

    python examples/lenet.py                     # trains, prints, writes examples/lenet.png
    python examples/lenet.py --epochs 8          # goes on for longer
    python examples/lenet.py --data FOLDER       # of the four idx files, packed with gzip or not
"""

import argparse
import gzip
import sys
import time
from pathlib import Path

import numpy as np

from functrans import jit, nn, optimizers, random, value_and_grad

try:
    import matplotlib
    from tqdm import tqdm
except ImportError as e:
    raise SystemExit(f"examples/lenet.py needs the package {e.name}. From the folder of the clone, run:\n"
                     "    pip install -e '.[examples]'") from None

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
BATCH = 64


# ----- data -----------------------------------------------------------------------------------------


def read_idx(folder, name):
    """An array of bytes in the format of MNIST: a magic number whose last byte counts axes, extents, data."""
    path = folder / name
    packed = path.with_name(name + ".gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    axes = raw[3]
    shape = np.frombuffer(raw, ">i4", axes, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def load(folder):
    """(training images, labels, test images, labels, names of the classes); images [n, 1, 28, 28]."""
    if any(folder.glob("train-images-idx3-ubyte*")):
        parts = [read_idx(folder, f"{part}-{what}-ubyte") for part in ("train", "t10k")
                 for what in ("images-idx3", "labels-idx1")]
        names = CLOTHES
    else:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise SystemExit(f"examples/lenet.py found no data in {folder}. Install Debian's package "
                             "dataset-fashion-mnist, or scikit-learn for its digits.") from None
        print(f"no Fashion-MNIST in {folder}: scikit-learn's digits instead")
        images, labels = load_digits(return_X_y=True)
        images = np.kron(images.reshape(-1, 8, 8) * 15, np.ones((3, 3)))
        images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
        test = np.arange(len(labels)) % 5 == 0
        parts = [images[~test], labels[~test], images[test], labels[test]]
        names = tuple("0123456789")
    train, train_labels, test, test_labels = parts
    scaled = [x[:, None].astype(np.float32) / 255 - 0.5 for x in (train, test)]
    return scaled[0], train_labels.astype(np.int64), scaled[1], test_labels.astype(np.int64), names


# ----- the network ----------------------------------------------------------------------------------


def init(key):
    """Filters [out, in, 5, 5] and matrices [in, out], scaled for relu; zero biases."""
    keys = random.split(key, 5)
    filters = nn.initializers.he_normal(in_axis=1, out_axis=0, dtype=np.float32)
    matrix = nn.initializers.he_normal(dtype=np.float32)
    shapes = [(6, 1, 5, 5), (16, 6, 5, 5), (400, 120), (120, 84), (84, 10)]
    return [((filters if len(s) == 4 else matrix)(k, s), np.zeros(s[0] if len(s) == 4 else s[1], np.float32))
            for k, s in zip(keys, shapes, strict=True)]


def logits(params, x):
    """LeNet-5 with relu and maxima: two convolutions, three dense layers."""
    (w1, b1), (w2, b2), *dense = params
    x = nn.max_pool2d(nn.relu(nn.conv2d(x, w1, b1, padding=2)), 2)
    x = nn.max_pool2d(nn.relu(nn.conv2d(x, w2, b2)), 2)
    x = x.reshape(x.shape[0], -1)
    for w, b in dense[:-1]:
        x = nn.relu(x @ w + b)
    w, b = dense[-1]
    return x @ w + b


def loss(params, x, labels):
    return nn.cross_entropy(logits(params, x), labels)


def stepper(optimizer):
    """A step of training, compiled: the loss, the new parameters and the optimizer's new state."""
    @jit(donate_argnums=(0, 1))         # written over by the new ones
    def step(params, state, x, labels):
        value, grads = value_and_grad(loss)(params, x, labels)
        updates, state = optimizer.update(grads, state, params)
        return value, optimizers.apply_updates(params, updates), state
    return step


@jit
def guess(params, x):
    return np.argmax(logits(params, x), axis=-1)


# ----- training -------------------------------------------------------------------------------------


def guesses(params, images):
    return np.concatenate([guess(params, images[i:i + 500]) for i in range(0, len(images), 500)])


def train(data, epochs, seed):
    """Returns the parameters and the learning curve."""
    x, labels, x_test, labels_test, _ = data
    rng = np.random.default_rng(seed)
    params = init(random.key(seed))
    per_epoch = len(x) // BATCH
    steps = epochs * per_epoch
    optimizer = optimizers.adam(optimizers.cosine_decay_schedule(2e-3, steps))
    state, step = optimizer.init(params), stepper(optimizer)
    curve = {"loss": [], "at": [], "accuracy": []}
    with tqdm(total=steps, unit="step", disable=not sys.stderr.isatty()) as bar:
        for epoch in range(epochs):
            order = rng.permutation(len(x))
            for i in range(per_epoch):
                at = order[i * BATCH:(i + 1) * BATCH]
                value, params, state = step(params, state, x[at], labels[at])
                curve["loss"].append(float(value))
                bar.update()
            accuracy = float(np.mean(guesses(params, x_test) == labels_test))
            curve["at"].append((epoch + 1) * per_epoch)
            curve["accuracy"].append(accuracy)
            bar.set_postfix(test=f"{accuracy:.4f}")
    return params, curve


# ----- the picture ----------------------------------------------------------------------------------


def draw(curve, params, data, path):
    """Learning curve and first filters; what is taken for what; pictures that are guessed wrong."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, _, images, labels, names = data
    found = guesses(params, images)
    figure = plt.figure(figsize=(15, 5.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1.05, 1.15))

    top, bottom = left.subfigures(2, 1, height_ratios=(3, 1))
    axes = top.subplots()
    values = np.array(curve["loss"])
    width = max(len(values) // 50, 1)
    axes.plot(np.arange(1, len(values) + 1), values, color="0.85", linewidth=0.5, label="each minibatch")
    axes.plot(np.arange(width, len(values) + 1), np.convolve(values, np.ones(width) / width, "valid"),
              color="tab:blue", label=f"mean of {width} steps")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    axes.set_title(f"Learning curve; test accuracy {100 * curve['accuracy'][-1]:.1f} %", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    bottom.suptitle("The six filters of the first layer", fontsize=10)
    filters = params[0][0][:, 0]
    for cell, f in zip(bottom.subplots(1, 6), filters, strict=True):
        cell.imshow(f, cmap="coolwarm", vmin=-np.abs(filters).max(), vmax=np.abs(filters).max())
        cell.set_axis_off()

    axes = middle.subplots()
    table = np.zeros((10, 10), int)
    np.add.at(table, (labels, found), 1)
    share = table / table.sum(1, keepdims=True)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(10, 10):
        if share[i, j] >= 0.005:
            axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=8,
                      color="white" if share[i, j] > 0.5 else "black")
    axes.set_xticks(range(10), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(10), names, fontsize=8)
    axes.set_xlabel("guess")
    axes.set_ylabel("label")
    axes.set_title("Test pictures of each class (%)", fontsize=11)

    right.suptitle("The first wrong guesses: label → guess", fontsize=11)
    wrong = np.flatnonzero(found != labels)[:20]
    for cell, i in zip(right.subplots(4, 5).flat, [*wrong, *[None] * (20 - len(wrong))], strict=True):
        cell.set_axis_off()
        if i is not None:
            cell.imshow(images[i, 0], cmap="gray_r")
            cell.set_title(f"{names[labels[i]]} → {names[found[i]]}", fontsize=7, pad=2, color="tab:red")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="passes over the data (default 3; 12 for the digits)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the minibatches")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the idx files of Fashion-MNIST")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("lenet.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)
    data = load(args.data)
    epochs = args.epochs or (3 if len(data[0]) > 10_000 else 12)
    if epochs < 1:
        parser.error("--epochs must be at least 1")
    began = time.perf_counter()
    params, curve = train(data, epochs, args.seed)
    seconds = time.perf_counter() - began
    print(f"{epochs} epochs of {len(data[0])} pictures in {seconds:.1f} s, test accuracy "
          f"{curve['accuracy'][-1]:.4f}")
    draw(curve, params, data, args.output)
    print(f"picture: {args.output}")
    return curve["accuracy"][-1]


if __name__ == "__main__":
    main()
