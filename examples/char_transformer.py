"""Trains a small transformer to write like Python's reference manual, one character after the other.

The text is the help on topics that ships with Python itself (the module pydoc_data.topics). The model has
two blocks of causal attention; all its parts are functions of functrans.nn.

    python examples/char_transformer.py                   # trains, prints, writes a picture beside this file
    python examples/char_transformer.py --steps 5000      # writes better
"""

import argparse
import sys
import textwrap
import time
from pathlib import Path

import numpy as np

from functrans import jit, nn, optimizers, random, value_and_grad

try:
    import matplotlib
    from tqdm import tqdm
except ImportError as e:
    raise SystemExit(f"examples/char_transformer.py needs the package {e.name}. From the folder of the "
                     "clone, run:\n    pip install -e '.[examples]'") from None

WIDTH, HEADS, BLOCKS, LENGTH, BATCH = 128, 4, 2, 64, 16


# ----- text -----------------------------------------------------------------------------------------


def load():
    """(codes of the text, its characters): the topics of Python's help without tables, indents and rare
    characters, in an order that mixes them."""
    from pydoc_data.topics import topics
    names = np.random.default_rng(0).permutation(sorted(topics))
    lines = [" ".join(line.split()) for name in names for line in topics[name].splitlines()]
    text = np.array(list("\n".join([line for line in lines if not line.startswith(("+", "|"))])))
    characters, counts = np.unique(text, return_counts=True)
    known = characters[counts >= 20]
    return np.searchsorted(known, text[np.isin(text, known)]).astype(np.int64), known


def batch(rng, codes):
    """Pieces of the text, and the same one character further."""
    starts = rng.integers(len(codes) - LENGTH - 1, size=BATCH)
    pieces = codes[starts[:, None] + np.arange(LENGTH + 1)]
    return pieces[:, :-1], pieces[:, 1:]


# ----- the model ------------------------------------------------------------------------------------


def init(key, n_characters):
    table = nn.initializers.normal(0.1, np.float32)
    matrix = nn.initializers.lecun_normal(dtype=np.float32)
    # what is added to the stream is small at first
    small = nn.initializers.variance_scaling(0.5 / BLOCKS, "fan_in", "truncated_normal", dtype=np.float32)
    keys = iter(random.split(key, 3 + 4 * BLOCKS))
    return {"characters": table(next(keys), (n_characters, WIDTH)),
            "places": table(next(keys), (LENGTH, WIDTH)),
            "blocks": [{"norm1": np.ones(WIDTH, np.float32), "qkv": matrix(next(keys), (WIDTH, 3 * WIDTH)),
                        "out": small(next(keys), (WIDTH, WIDTH)),
                        "norm2": np.ones(WIDTH, np.float32), "up": matrix(next(keys), (WIDTH, 4 * WIDTH)),
                        "down": small(next(keys), (4 * WIDTH, WIDTH))} for _ in range(BLOCKS)],
            "norm": np.ones(WIDTH, np.float32), "scores": matrix(next(keys), (WIDTH, n_characters))}


def heads(x):
    """``[n, length, width]`` as ``[n, heads, length, width / heads]``."""
    return np.swapaxes(np.reshape(x, (*x.shape[:2], HEADS, -1)), 1, 2)


def block(p, x):
    h = nn.rms_norm(x, WIDTH, p["norm1"]) @ p["qkv"]
    q, k, v = (heads(part) for part in np.split(h, 3, axis=-1))
    h = nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + np.reshape(np.swapaxes(h, 1, 2), x.shape) @ p["out"]
    return x + nn.gelu(nn.rms_norm(x, WIDTH, p["norm2"]) @ p["up"]) @ p["down"]


def logits(params, codes):
    """Scores of the next character at each place: ``[n, length, characters]``."""
    x = nn.embedding(codes, params["characters"]) + params["places"][:codes.shape[1]]
    for p in params["blocks"]:
        x = block(p, x)
    return nn.rms_norm(x, WIDTH, params["norm"]) @ params["scores"]


def loss(params, codes, following):
    return nn.cross_entropy(logits(params, codes), following)


def stepper(optimizer):
    """A step of training, compiled: the loss, the new parameters and the optimizer's new state."""
    @jit(donate_argnums=(0, 1))         # written over by the new ones
    def step(params, state, codes, following):
        value, grads = value_and_grad(loss)(params, codes, following)
        updates, state = optimizer.update(grads, state, params)
        return value, optimizers.apply_updates(params, updates), state
    return step


# ----- training -------------------------------------------------------------------------------------


def train(codes, held_out, n_characters, steps, seed):
    """Returns the parameters and the learning curve, in bits a character."""
    rng = np.random.default_rng(seed)
    params = init(random.key(seed), n_characters)
    rate = optimizers.warmup_cosine_decay_schedule(0.0, 3e-3, max(steps // 12, 1), steps + 1)
    optimizer = optimizers.adam(rate, b2=0.99)
    state, step = optimizer.init(params), stepper(optimizer)
    measure = jit(loss)
    tests = [batch(np.random.default_rng(1), held_out) for _ in range(8)]
    curve = {"loss": [], "at": [], "test": []}
    every = max(steps // 20, 1)
    with tqdm(range(steps), unit="step", disable=not sys.stderr.isatty()) as bar:
        for i in bar:
            value, params, state = step(params, state, *batch(rng, codes))
            curve["loss"].append(float(value) / np.log(2))
            if i % every == every - 1 or i == steps - 1:
                curve["at"].append(i + 1)
                curve["test"].append(float(np.mean([measure(params, *t) for t in tests])) / np.log(2))
                bar.set_postfix(bits=f"{curve['test'][-1]:.3f}")
    return params, curve


def write(params, start, n, key, temperature=0.7):
    """n more characters behind the codes ``start``, which are at least ``LENGTH``."""
    @jit
    def following(params, codes, key):
        return random.categorical(key, logits(params, codes[None])[0, -1] / np.float32(temperature))

    codes = list(start)
    for k in random.split(key, n):
        codes.append(int(following(params, np.array(codes[-LENGTH:]), k)))
    return codes[len(start):]


# ----- the picture ----------------------------------------------------------------------------------


def draw(curve, params, held_out, characters, sample, path):
    """The learning curve; a text that it has not seen, each character coloured by its surprise."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(14, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    axes = left.subplots()
    axes.plot(np.arange(1, len(curve["loss"]) + 1), curve["loss"], color="0.8", linewidth=0.7,
              label="each minibatch")
    axes.plot(curve["at"], curve["test"], color="tab:blue", marker="o", markersize=3, label="text held out")
    axes.annotate(f"{curve['test'][-1]:.2f}", (curve["at"][-1], curve["test"][-1]), xytext=(0, 8),
                  textcoords="offset points", ha="right", color="tab:blue")
    axes.set_xlabel("step")
    axes.set_ylabel("bits a character")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.set_title("Learning curve", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)

    top, bottom = right.subplots(2, 1, height_ratios=(1.4, 1))
    rows, shown = 8, LENGTH
    pieces = held_out[2000:2000 + rows * shown + 1]
    codes, after = (pieces[i:i + rows * shown].reshape(rows, shown) for i in (0, 1))
    bits = np.stack([nn.cross_entropy(logits(params, c[None])[0], a, reduction="none")
                     for c, a in zip(codes, after, strict=True)]) / np.log(2)
    image = top.imshow(bits, cmap="OrRd", vmin=0, vmax=8, aspect="auto")
    for i, j in np.ndindex(rows, shown):
        c = characters[after[i, j]]
        top.text(j, i, "↵" if c == "\n" else c, ha="center", va="center", fontsize=8, family="monospace",
                 in_layout=False)
    top.set_title("Text held out: how many bits each character needs, from those before it in its line",
                  fontsize=10)
    right.colorbar(image, ax=top, shrink=0.8, pad=0.01)
    for ax in (top, bottom):
        ax.set_xticks([])
        ax.set_yticks([])
    lines = [part for line in sample.split("\n") for part in textwrap.wrap(line, 95)]
    bottom.text(0.01, 0.97, "\n".join(lines[:14]), va="top", family="monospace", fontsize=8,
                transform=bottom.transAxes, in_layout=False)
    bottom.set_title("What it writes", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600, help="minibatches (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, minibatches and the sample")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("char_transformer.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps must be at least 1")
    codes, characters = load()
    cut = len(codes) * 9 // 10
    print(f"{len(codes)} characters, {len(characters)} different ones")
    began = time.perf_counter()
    params, curve = train(codes[:cut], codes[cut:], len(characters), args.steps, args.seed)
    seconds = time.perf_counter() - began
    print(f"{args.steps} steps in {seconds:.1f} s, {curve['test'][-1]:.3f} bits a character on text held out")
    written = write(params, codes[cut:cut + LENGTH], 500, random.key(args.seed))
    sample = "".join(characters[written])
    print(sample)
    draw(curve, params, codes[cut:], characters, sample, args.output)
    print(f"picture: {args.output}")
    return curve["test"][-1]


if __name__ == "__main__":
    main()
