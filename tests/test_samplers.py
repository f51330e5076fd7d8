"""examples/hmc.py: HMC and NUTS, chains mapped, against posteriors that are known exactly."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from functrans import jit, random, tree, value_and_grad, vmap

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/hmc.py"
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason="needs the packages of the extra 'examples'")


@pytest.fixture(scope="module")
def hmc():
    spec = importlib.util.spec_from_file_location("hmc", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["hmc"] = module
    spec.loader.exec_module(module)
    return module


def test_samples_are_from_the_posteriors(hmc, capsys, tmp_path):
    """Some 140 means and covariances for each: the largest deviation is about 2.7 standard errors."""
    hmc.main(["--chains", "4", "--warmup", "300", "--samples", "500", "--output", str(tmp_path / "out.png")])
    rows = re.findall(r"^(\w+) +(\w+) +[\d.]+ +(\d+) of +2000 +([\d.]+) +([\d.]+) +([\d.]+)",
                      capsys.readouterr().out, re.MULTILINE)
    assert [row[:2] for row in rows] == [("Gaussian", "HMC"), ("Gaussian", "NUTS"), ("regression", "HMC"),
                                         ("regression", "NUTS")]
    for row in rows:
        effective, r_hat, mean, covariance = map(float, row[2:])
        assert effective > 100 and r_hat < 1.06 and mean < 5 and covariance < 5.5, row
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_sampler_is_noticed(hmc):
    """Without the accept step, leapfrog steps stretch the shortest axis by sqrt(1 / (1 - 0.6**2))."""
    p = hmc.gaussian(4)
    step = 1.2 * np.sqrt(np.linalg.eigvalsh(p.covariance)[0])

    def unchecked(density, key, z, step, inverse_mass):
        z = hmc.refreshed(key, z, inverse_mass)
        for _ in range(4):
            z = hmc.leapfrog(density, z, step, inverse_mass)
        return z, 0.8, 4
    run = hmc.chain(unchecked, p.logp, 1500)
    draws, *_ = run(random.split(random.key(0), 4), np.zeros((4, 4)), np.full(4, step), np.ones(4), False)
    assert max(hmc.standard_errors(draws, p.mean, p.covariance)) > 8


def test_effective_size(hmc):
    """Of autoregressive chains: n (1 - r) / (1 + r), and n for independent draws."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 20_000, 3))
    r = np.array([0.0, 0.5, 0.9])
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for i in range(1, x.shape[1]):
        x[:, i] = r * x[:, i - 1] + np.sqrt(1 - r ** 2) * noise[:, i]
    np.testing.assert_allclose(hmc.effective_size(x) / 80_000, (1 - r) / (1 + r), rtol=0.15)
    assert np.all(np.abs(hmc.r_hat(x) - 1) < 2e-3)
    shifted = x + np.array([0.0, 0.0, 0.0, 1.0])[:, None, None]
    assert np.all(hmc.r_hat(shifted) > 1.05)


def test_subtree_is_the_recursion(hmc):
    """The loop with its kept momenta ends where a recursion over balanced parts does, one chain and many."""
    p = hmc.gaussian()
    density, ones, rng = value_and_grad(p.logp), np.ones(10), np.random.default_rng(0)
    root = np.linalg.cholesky(p.covariance)

    def by_parts(z, step, depth):
        start, points = hmc.energy(z, ones), []
        for i in range(2 ** depth):
            z = hmc.leapfrog(density, z, step, ones)
            points.append(z)
            turned = False
            for size in (2 ** k for k in range(1, depth + 1)):
                part = points[i + 1 - size:]
                if (i + 1) % size == 0:
                    turned |= bool(hmc.turns(part[0].p, z.p, sum(s.p for s in part), ones))
            if turned or hmc.energy(z, ones) - start > 1000:
                break
        return points, turned

    def subtree(key, z, step, leaves):
        return hmc.subtree(density, key, z, step, leaves, hmc.energy(z, ones), ones)

    starts, turned = [], 0
    for i in range(30):
        q = p.mean + root @ rng.normal(size=10)
        z = hmc.Point(q, rng.normal(size=10), *density(q))
        step = rng.choice([-1, 1]) * rng.uniform(0.02, 0.2)
        starts.append((random.key(i), z, step, 2 ** int(rng.integers(7))))
    mapped = jit(vmap(subtree))(*tree.map(lambda *x: np.stack(x), *starts))
    for i, (_, z, step, leaves) in enumerate(starts):
        points, ends = by_parts(z, step, leaves.bit_length() - 1)
        energies = np.array([hmc.energy(x, ones) for x in points]) - hmc.energy(z, ones)
        for got in (jit(subtree)(*starts[i]), tree.map(lambda x, i=i: x[i], mapped)):
            assert got.turned == ends and got.leaves == len(points)
            np.testing.assert_allclose(got.right.q, points[-1].q, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(got.momenta, sum(x.p for x in points), rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(got.weight, np.logaddexp.reduce(-energies), rtol=1e-6)
            assert any(np.allclose(got.drawn.q, x.q, rtol=1e-8) for x in points)
        turned += ends
    assert 5 < turned < 25
