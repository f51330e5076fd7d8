"""The glue between the workloads and each library: one class each, as small as it can be.

A workload is written against ``b.np`` (the library's NumPy namespace) and the methods below; a class
overrides what its library spells differently, in the way its users would write it. The libraries are
imported when a class is made, so that this file loads without them.
"""

from __future__ import annotations

import numpy


class Backend:
    """Spellings that functrans and JAX share."""

    name = ""
    staged_loops = True         # scan is one equation, not a Python loop

    def array(self, x):
        """An ndarray in the library's own type."""
        return x

    def index(self, x):
        """An integer ndarray, for indexing."""
        return self.array(x)

    def number(self, x):
        """A Python float as a scalar argument."""
        return x

    def cast(self, x, dtype):
        """``x`` in another dtype, given by name."""
        return x.astype(dtype)

    def wait(self, result):
        """Returns when the result is there."""

    def jit(self, f):
        return f

    def cross_entropy(self, z, labels):
        """Mean cross-entropy of rows of ``z``; ``labels`` are integers."""
        np = self.np
        z = z - np.max(z, axis=1, keepdims=True)
        log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        return -np.mean(log_p[self.index(numpy.arange(z.shape[0])), labels])

    def own_cross_entropy(self, z, labels):
        """The same by the library's own function."""
        return self.nn.cross_entropy(z, labels)

    def attention(self, q, k, v, causal):
        """Of ``[batch, heads, length, width]``, by the library's own function."""
        return self.nn.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def hvp(self, f):
        """``(x, v) -> Hessian of f at x, times v``, forward over reverse."""
        return lambda x, v: self.jvp(self.grad(f), (x,), (v,))[1]

    def conv(self, x, w, stride=1, padding=0):
        """Images ``[n, channels, height, width]`` with filters ``[out, channels, height, width]``."""
        return self.nn.conv2d(x, w, None, stride, padding)

    def max_pool(self, x):
        """The maximum of each 2 x 2 square."""
        return self.nn.max_pool2d(x, 2)

    # how often gradients are nested does not matter to most libraries
    def nested_grad(self, f):
        return self.grad(f)


class Functrans(Backend):
    name = "functrans"

    def __init__(self):
        import numpy as np
        from scipy.special import erf

        import functrans
        self.np, self.erf, self.version = np, erf, functrans.__version__
        self.grad, self.jvp, self.vmap = functrans.grad, functrans.jvp, functrans.vmap
        self.jit, self.hessian, self.jacfwd = functrans.jit, functrans.hessian, functrans.jacfwd
        self.nn, self.scan = functrans.nn, functrans.lax.scan


class Jax(Backend):
    name = "jax"

    def __init__(self):
        import jax
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        import jax.numpy as np
        from jax.scipy.special import erf
        self.np, self.erf, self.version = np, erf, jax.__version__
        self.grad, self.jvp, self.vmap = jax.grad, jax.jvp, jax.vmap
        self.jit, self.hessian, self.jacfwd = jax.jit, jax.hessian, jax.jacfwd
        self.lax, self.nn = jax.lax, jax.nn
        self.scan, self.wait = jax.lax.scan, jax.block_until_ready

    def array(self, x):
        return self.np.asarray(x)

    def own_cross_entropy(self, z, labels):
        return -self.np.mean(self.np.take_along_axis(self.nn.log_softmax(z), labels[:, None], 1))

    def attention(self, q, k, v, causal):
        q, k, v = (self.np.swapaxes(x, 1, 2) for x in (q, k, v))
        return self.np.swapaxes(self.nn.dot_product_attention(q, k, v, is_causal=causal), 1, 2)

    def conv(self, x, w, stride=1, padding=0):
        return self.lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2)

    def max_pool(self, x):
        return self.lax.reduce_window(x, -numpy.inf, self.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def loop(f, carry, xs, length, stack):
    """A Python loop with the meaning of ``scan``, for a tuple of arrays ``xs``, or None."""
    ys = []
    for i in range(length):
        carry, y = f(carry, None if xs is None else xs[i])
        ys.append(y)
    return carry, None if ys[0] is None else stack(ys)


class Autograd(Backend):
    name = "autograd"
    staged_loops = False

    def __init__(self):
        import importlib.metadata

        import autograd
        import autograd.numpy as np
        from autograd.scipy.special import erf
        self.np, self.erf = np, erf
        self.version = importlib.metadata.version("autograd")
        self.grad, self.hessian = autograd.grad, autograd.hessian
        self.jacfwd = autograd.jacobian         # it has no batched forward mode

    def hvp(self, f):
        import autograd
        return autograd.hessian_vector_product(f)

    def scan(self, f, init, xs, length=None):
        return loop(f, init, xs, length or len(xs), self.np.stack)


class Torch(Backend):
    name = "torch"
    staged_loops = False

    def __init__(self):
        import torch
        self.torch, self.np, self.version = torch, TorchNumpy(torch), torch.__version__
        self.nn = torch.nn.functional
        self.erf = torch.erf
        self.jvp, self.vmap = torch.func.jvp, torch.func.vmap
        self.nested_grad, self.hessian = torch.func.grad, torch.func.hessian
        self.jacfwd = torch.func.jacfwd

    def array(self, x):
        return self.torch.tensor(x)

    def number(self, x):
        return self.torch.tensor(x, dtype=self.torch.float64)

    def grad(self, f):
        """By the tape, which is faster than ``torch.func.grad`` where one gradient is all."""
        torch = self.torch

        def gradient(x, *rest):
            leaves, treedef = torch.utils._pytree.tree_flatten(x)
            leaves = [leaf.detach().requires_grad_() for leaf in leaves]
            out = f(torch.utils._pytree.tree_unflatten(leaves, treedef), *rest)
            return torch.autograd.grad(out, leaves)

        return gradient

    def cast(self, x, dtype):
        return x.to(getattr(self.torch, dtype))

    def hvp(self, f):
        return lambda x, v: self.jvp(self.nested_grad(f), (x,), (v,))[1]

    def cross_entropy(self, z, labels):
        return self.nn.cross_entropy(z, labels)

    def scan(self, f, init, xs, length=None):
        return loop(f, init, xs, length or len(xs), self.torch.stack)


class TorchCompile(Torch):
    """``torch.compile``: of the loss, whose backward pass it compiles too, or of functional transforms."""

    name = "torch_compile"

    def grad(self, f):
        gradient = super().grad(self.torch.compile(f))
        gradient.compiled = True                # the tape itself cannot be compiled
        return gradient

    def jit(self, f):
        return f if hasattr(f, "compiled") else self.torch.compile(f)


class TorchNumpy:
    """NumPy's spelling of the torch functions that the workloads use."""

    def __init__(self, torch):
        self.torch = torch
        for name in ("sin", "exp", "log", "sqrt", "tanh", "sum", "mean", "einsum", "stack",
                     "roll", "log1p", "clip", "where"):
            setattr(self, name, getattr(torch, name))

    def max(self, x, axis, keepdims=False):
        return self.torch.amax(x, axis, keepdims)

    def reshape(self, x, shape):
        return self.torch.reshape(x, shape)

    def transpose(self, x, axes):
        return self.torch.permute(x, axes)

    def swapaxes(self, x, a, b):
        return self.torch.transpose(x, a, b)


BACKENDS = {c.name: c for c in (Functrans, Jax, Torch, TorchCompile, Autograd)}

