"""Samples from two posteriors that are known exactly, by HMC and by NUTS, and checks the samples.

The first is a Gaussian with strong correlations. The second is Bayesian linear regression on the diabetes
data that come with scikit-learn, with a conjugate prior: the posterior of the weights and of the noise is
known in closed form. A transition is an ordinary function of one chain with loops of unknown length (NUTS
doubles its trajectory until it turns back); ``vmap`` makes it one of all chains, ``jit`` compiles thousands
of them.

    python examples/hmc.py                    # samples, prints, writes examples/hmc.png
    python examples/hmc.py --output out.png   # writes the picture elsewhere
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from functrans import jit, lax, random, tree, value_and_grad, vmap

try:
    import matplotlib
    from sklearn.datasets import load_diabetes
except ImportError as e:
    raise SystemExit(f"examples/hmc.py needs the package {e.name}. From the folder of the clone, "
                     "run:\n    pip install -e '.[examples]'") from None

MAX_DEPTH = 10          # of NUTS: at most 2**10 steps a transition
MAX_STEPS = 24          # of HMC: 1 to 24 steps a transition, drawn anew for each
TARGET = 0.8            # mean acceptance that the step sizes are tuned for


class Point(NamedTuple):
    """A place, its momentum, and the log density there with its gradient."""

    q: np.ndarray
    p: np.ndarray
    logp: float
    slope: np.ndarray


def choose(which, a, b):
    return tree.map(lambda x, y: np.where(which, x, y)[()], a, b)


def leapfrog(density, z, step, inverse_mass):
    p = z.p + 0.5 * step * z.slope
    q = z.q + step * inverse_mass * p
    logp, slope = density(q)
    return Point(q, p + 0.5 * step * slope, logp, slope)


def energy(z, inverse_mass):
    """Infinite where the density is 0 or not defined."""
    e = -z.logp + 0.5 * np.sum(inverse_mass * z.p * z.p)
    return np.where(np.isnan(e), np.inf, e)[()]


def refreshed(key, z, inverse_mass):
    return z._replace(p=random.normal(key, z.q.shape) / np.sqrt(inverse_mass))


# ----- Hamiltonian Monte Carlo (Duane et al. 1987) -----------------------------------------------------


def hmc(density, key, z, step, inverse_mass):
    """One transition: (next point, mean acceptance, gradients taken)."""
    key_p, key_n, key_u = random.split(key, 3)
    z = refreshed(key_p, z, inverse_mass)
    steps = random.randint(key_n, (), 1, MAX_STEPS + 1)
    end = lax.fori_loop(0, steps, lambda _, z: leapfrog(density, z, step, inverse_mass), z)
    accept = np.exp(np.minimum(0.0, energy(z, inverse_mass) - energy(end, inverse_mass)))
    return choose(random.uniform(key_u) < accept, end, z), accept, steps


# ----- the No-U-Turn sampler (Hoffman, Gelman 2014; multinomial as in Betancourt 2017) -----------------


class Tree(NamedTuple):
    """A trajectory: its ends, a point drawn from it, and what decides whether it goes on."""

    left: Point
    right: Point
    drawn: Point
    weight: float           # log of the sum of exp(-energy), relative to the start
    momenta: np.ndarray     # their sum
    turned: bool
    diverged: bool
    accept: float           # sum of acceptances
    leaves: int


def turns(first, last, total, inverse_mass):
    """Whether a trajectory moves back at one of its ends: momenta [..., n] there, and their sum."""
    inner = (total - 0.5 * (first + last)) * inverse_mass
    return (np.sum(first * inner, axis=-1) <= 0) | (np.sum(last * inner, axis=-1) <= 0)


def bits(i):
    """How many are set; NumPy counts them in uint8, whose differences would wrap."""
    return np.bitwise_count(i).astype(int)


def subtree(density, key, edge, step, leaves, start, inverse_mass):
    """``leaves`` (a power of 2) more points beyond an end, in a loop instead of a recursion.

    All balanced parts of the new trajectory must not turn. A part that ends at leaf i begins at a leaf whose
    momentum is still kept: of the leaves before i, one a bit of i is needed (Phan, Pradhan, Jankowiak 2019).
    """
    n = edge.q.shape[0]
    rows = np.arange(MAX_DEPTH)

    def go_on(state):
        i, t, *_ = state
        return (i < leaves) & ~t.turned & ~t.diverged

    def leaf(state):
        i, t, kept, sums, key = state
        key, key_u = random.split(key)
        z = leapfrog(density, t.right, step, inverse_mass)
        error = energy(z, inverse_mass) - start
        weight = np.logaddexp(t.weight, -error)
        drawn = choose(np.log(random.uniform(key_u)) < -error - weight, z, t.drawn)
        momenta = t.momenta + z.p
        row, parts = bits(i >> 1), bits(i ^ (i + 1)) - 1
        begins = (i % 2 == 0) & (rows == row)
        kept = np.where(begins[:, None], z.p, kept)
        sums = np.where(begins[:, None], momenta, sums)
        ending = (rows > row - parts) & (rows <= row)
        turned = np.any(ending & turns(kept, z.p, momenta - sums + kept, inverse_mass))
        accept = t.accept + np.exp(np.minimum(0.0, -error))
        return i + 1, Tree(t.left, z, drawn, weight, momenta, turned, error > 1000.0, accept,
                           t.leaves + 1), kept, sums, key

    empty = Tree(edge, edge, edge, -np.inf, np.zeros(n), False, False, 0.0, 0)
    none = np.zeros((MAX_DEPTH, n))
    return lax.while_loop(go_on, leaf, (0, empty, none, none, key))[1]


def nuts(density, key, z, step, inverse_mass):
    """One transition: (next point, mean acceptance, gradients taken)."""
    key_p, key = random.split(key)
    z = refreshed(key_p, z, inverse_mass)
    start = energy(z, inverse_mass)

    def go_on(state):
        depth, t, _ = state
        return (depth < MAX_DEPTH) & ~t.turned & ~t.diverged

    def double(state):
        depth, t, key = state
        key, key_side, key_new, key_u = random.split(key, 4)
        forward = random.bernoulli(key_side)
        new = subtree(density, key_new, choose(forward, t.right, t.left), np.where(forward, step, -step)[()],
                      1 << depth, start, inverse_mass)
        whole = ~(new.turned | new.diverged)
        move = whole & (np.log(random.uniform(key_u)) < new.weight - t.weight)
        left, right = choose(forward, t.left, new.right), choose(forward, new.right, t.right)
        momenta = t.momenta + new.momenta
        turned = new.turned | turns(left.p, right.p, momenta, inverse_mass)
        return depth + 1, Tree(left, right, choose(move, new.drawn, t.drawn),
                               np.logaddexp(t.weight, new.weight), momenta, turned, new.diverged,
                               t.accept + new.accept, t.leaves + new.leaves), key

    single = Tree(z, z, z, 0.0, z.p, False, False, 0.0, 0)
    t = lax.while_loop(go_on, double, (0, single, key))[1]
    return t.drawn, t.accept / t.leaves, t.leaves


# ----- chains ---------------------------------------------------------------------------------------------


def chain(kernel, logp, n):
    """``(key, q, step, inverse_mass, tuned) -> (draws, q, step, gradients)`` of n transitions of one chain.

    With ``tuned``, the step size follows the acceptance by dual averaging (Hoffman, Gelman 2014, section
    3.2).
    """
    density = value_and_grad(logp)

    def run(key, q, step, inverse_mass, tuned):
        centre = np.log(10.0 * step)

        def transition(carry, turn):
            z, log_step, smooth, lag = carry
            i, key = turn
            z, accept, gradients = kernel(density, key, z, np.exp(log_step), inverse_mass)
            lag = lag + (TARGET - accept - lag) / (i + 10.0)
            moving = centre - np.sqrt(i) / 0.05 * lag
            share = i ** -0.75
            smooth = np.where(tuned, share * moving + (1.0 - share) * smooth, smooth)[()]
            return (z, np.where(tuned, moving, log_step)[()], smooth, lag), (z.q, gradients)

        value, slope = density(q)
        carry = (Point(q, 0.0 * q, value, slope), np.log(step), np.log(step), 0.0)
        (z, _, smooth, _), (draws, gradients) = lax.scan(
            transition, carry, (np.arange(1.0, n + 1.0), random.split(key, n)))
        return draws, z.q, np.exp(smooth), np.sum(gradients)

    return jit(vmap(run, (0, 0, 0, None, None)))


def sample(kernel, logp, dims, chains, warmup, samples, seed):
    """Draws [chains, samples, dims] after a warm-up that tunes step sizes and a diagonal mass matrix."""
    keys = random.split(random.key(seed), 5)
    q = 2.0 * random.normal(keys[0], (chains, dims))
    step, inverse_mass = np.full(chains, 0.1), np.ones(dims)
    for window in range(3):
        part = warmup // 4 if window < 2 else warmup - 2 * (warmup // 4)
        draws, q, step, _ = chain(kernel, logp, part)(random.split(keys[1 + window], chains), q, step,
                                                      inverse_mass, True)
        if window < 2:
            inverse_mass = np.var(draws[:, part // 2:], axis=(0, 1))
    draws, _, _, gradients = chain(kernel, logp, samples)(random.split(keys[4], chains), q, step,
                                                          inverse_mass, False)
    return draws, np.sum(gradients) / (chains * samples)


# ----- diagnostics ----------------------------------------------------------------------------------------


def halves(draws):
    """[2 * chains, n / 2, ...]: a chain that drifts then differs from itself."""
    n = draws.shape[1] // 2
    return np.concatenate([draws[:, :n], draws[:, -n:]])


def r_hat(draws):
    """Potential scale reduction of split chains (Gelman et al., Bayesian Data Analysis, 2013, eq. 11.4)."""
    x = halves(draws)
    within, between = np.mean(np.var(x, axis=1, ddof=1), axis=0), np.var(np.mean(x, axis=1), axis=0, ddof=1)
    return np.sqrt(1 - 1 / x.shape[1] + between / within)


def effective_size(draws):
    """Of the mean of all draws, by Geyer's initial monotone sequence (the same book, eq. 11.8)."""
    x = halves(draws)
    m, n = x.shape[:2]
    centred = x - np.mean(x, axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    autocovariance = np.fft.irfft(power, axis=1)[:, :n].mean(axis=0) / n
    within = autocovariance[0] * n / (n - 1)
    total = within * (n - 1) / n + np.var(np.mean(x, axis=1), axis=0, ddof=1)
    correlation = 1 - (within - autocovariance) / total
    correlation[0] = 1.0
    pairs = correlation[:n - n % 2].reshape(n // 2, 2, *x.shape[2:]).sum(axis=1)
    pairs = np.minimum.accumulate(np.where(np.minimum.accumulate(pairs > 0), pairs, 0.0))
    return m * n / np.maximum(2 * pairs.sum(axis=0) - 1, 1 / np.log10(m * n))


def standard_errors(draws, mean, covariance):
    """How far the sample is from the exact moments: largest deviations of mean and of covariance.

    In coordinates where the exact covariance is the identity; each in units of the error that so many
    effective draws have, so that 3 is rare and 5 means that something is wrong.
    """
    u = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean)[..., None])[..., 0]
    i, j = np.tril_indices(u.shape[-1])
    products = u[..., i] * u[..., j]

    def largest(x, exact):
        error = np.std(x, axis=(0, 1)) / np.sqrt(effective_size(x))
        return np.max(np.abs(np.mean(x, axis=(0, 1)) - exact) / error)
    return largest(u, 0.0), largest(products, (i == j) * 1.0)


# ----- two posteriors ---------------------------------------------------------------------------------------


class Posterior(NamedTuple):
    name: str
    logp: object
    mean: np.ndarray
    covariance: np.ndarray
    names: list


def gaussian(dims=10):
    """Neighbours correlate by 0.95, and scales go from 1/3 to 3."""
    scales = 3.0 ** np.linspace(-1, 1, dims)
    apart = np.abs(np.subtract.outer(np.arange(dims), np.arange(dims)))
    covariance = 0.95 ** apart * np.outer(scales, scales)
    precision, mean = np.linalg.inv(covariance), np.linspace(-1, 1, dims)

    def logp(q):
        d = q - mean
        return -0.5 * d @ precision @ d
    return Posterior("Gaussian", logp, mean, covariance, [f"x{i}" for i in range(dims)])


def regression():
    """y ~ N(x w, s) with s ~ InvGamma(3, 1) and w ~ N(0, 4 s): weights and log(s) of the diabetes data."""
    data = load_diabetes()
    x, y = data.data / data.data.std(axis=0), (data.target - data.target.mean()) / data.target.std()
    rows, n = x.shape
    shape, scale, spread = 3.0, 1.0, 4.0

    def logp(q):
        w, log_s = q[:n], q[n]
        squares = np.sum((y - x @ w) ** 2) + np.sum(w ** 2) / spread
        return -(0.5 * (rows + n) + shape) * log_s - np.exp(-log_s) * (0.5 * squares + scale)

    # The exact posterior (Bishop, Pattern Recognition, exercise 3.12): w | s normal, s inverse gamma.
    precision = x.T @ x + np.eye(n) / spread
    mean = np.linalg.solve(precision, x.T @ y)
    a, b = shape + 0.5 * rows, scale + 0.5 * (y @ y - mean @ precision @ mean)
    covariance = np.zeros((n + 1, n + 1))
    covariance[:n, :n] = np.linalg.inv(precision) * b / (a - 1)
    covariance[n, n] = polygamma(1, a)              # of log(s), which is uncorrelated with w by symmetry
    return Posterior("regression", logp, np.append(mean, np.log(b) - digamma(a)), covariance,
                     [*data.feature_names, "log s²"]), (a, b)


# ----- the picture ------------------------------------------------------------------------------------------


def draw(results, exact, gamma, path):
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    draws = results["Gaussian", "NUTS"]
    target = exact["Gaussian"]
    angle = np.linspace(0, 2 * np.pi, 200)
    i, j = 8, 9
    root = np.linalg.cholesky(target.covariance[np.ix_([i, j], [i, j])])
    left.plot(*draws[:, :500, [i, j]].reshape(-1, 2).T, ".", color="tab:blue", markersize=2, alpha=0.35)
    for part in (0.5, 0.95):
        circle = np.sqrt(-2 * np.log(1 - part)) * root @ np.stack([np.cos(angle), np.sin(angle)])
        left.plot(*(circle + target.mean[[i, j], None]), color="black", linewidth=1)
    left.set(xlabel=target.names[i], ylabel=target.names[j],
             title="Gaussian: NUTS draws,\nellipses of 50 and 95 % (exact)")

    target = exact["regression"]
    n = len(target.mean) - 1
    rows, draws = np.arange(n), results["regression", "NUTS"].reshape(-1, n + 1)
    deviation = np.sqrt(np.diag(target.covariance))[:n]
    middle.errorbar(target.mean[:n], rows - 0.12, xerr=2 * deviation, fmt="o", color="black", markersize=4,
                    label="exact")
    middle.errorbar(draws[:, :n].mean(axis=0), rows + 0.12, xerr=2 * draws[:, :n].std(axis=0), fmt="o",
                    color="tab:blue", markersize=4, label="NUTS")
    middle.axvline(0, color="0.8", zorder=0)
    middle.set_yticks(rows, target.names[:n])
    middle.invert_yaxis()
    middle.set(xlabel="weight (standardised)", title="Diabetes: posterior means\nand two standard deviations")
    middle.legend(frameon=False)

    a, b = gamma
    s = np.exp(draws[:, n])
    right.hist(s, bins=50, density=True, color="tab:blue", alpha=0.5, label="NUTS")
    grid = np.linspace(s.min(), s.max(), 300)
    right.plot(grid, np.exp(a * np.log(b) - gammaln(a) - (a + 1) * np.log(grid) - b / grid), color="black",
               label="exact")
    right.set(xlabel="variance of the noise", title="Diabetes: posterior of the noise")
    right.legend(frameon=False)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=600, help="transitions before the first that is kept")
    parser.add_argument("--samples", type=int, default=2000, help="draws of each chain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("hmc.png"),
                        help="where the picture goes (default: beside this file)")
    args = parser.parse_args(argv)
    if args.chains < 1 or args.warmup < 40 or args.samples < 40:
        parser.error("needs a chain, and 40 transitions of warm-up and of sampling")

    known, gamma = regression()
    exact, results = {p.name: p for p in (gaussian(), known)}, {}
    print("posterior   sampler  gradients/draw  effective draws (least)  R-hat (most)  "
          "standard errors off: mean  covariance  seconds")
    for p in exact.values():
        for name, kernel in (("HMC", hmc), ("NUTS", nuts)):
            began = time.perf_counter()
            draws, gradients = sample(kernel, p.logp, len(p.mean), args.chains, args.warmup, args.samples,
                                      args.seed)
            seconds = time.perf_counter() - began
            results[p.name, name] = draws
            mean, covariance = standard_errors(draws, p.mean, p.covariance)
            print(f"{p.name:11s} {name:7s} {gradients:15.1f} {effective_size(draws).min():14.0f} of "
                  f"{draws.shape[0] * draws.shape[1]:6d} {r_hat(draws).max():13.4f} {mean:26.2f} "
                  f"{covariance:11.2f} {seconds:8.1f}")
    draw(results, exact, gamma, args.output)
    print(f"picture: {args.output}")


if __name__ == "__main__":
    main()
