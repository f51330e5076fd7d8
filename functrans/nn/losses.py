"""Losses: cross-entropies of logits, and distances; names of ``torch.nn.functional``.

``reduction`` is "mean" (the default), "sum" or "none", of which the last gives a loss for each example.
float16 is computed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import _softplus
from .core import (
    OPS,
    api,
    asvalue,
    aval_of,
    axis_of,
    bools,
    broadcast_shape,
    broadcast_to,
    broadcasts,
    check_range,
    check_reduction,
    convert,
    errors,
    floats,
    nonzero,
    number,
    program,
    reduced,
    top_of,
    wide,
)
from .exponentials import entries

# ----- classes ------------------------------------------------------------------------------------


def _log_total(z, axis):
    """log(sum(exp(z))) along an axis that is kept; 0 where all is -inf."""
    top = top_of(z, axis)
    return np.log(nonzero(np.sum(np.exp(z - top), axis=axis, keepdims=True))) + top


@program
def _cross_entropy(z, labels, weight, where, *, axis, ignore_index, smoothing, reduction):
    """All terms ``target * (log_total - z)`` are summed at once: so loss and gradient are one pass."""
    dtype = aval_of(z).dtype
    z = wide(z)
    if where is not None:
        z = np.where(where, z, number(-np.inf, z))
    shape, kind, zero = aval_of(z).shape, aval_of(z).dtype, number(0, z)
    terms = _log_total(z, axis) - z
    rate = number(1 / max(aval_of(z).size // shape[axis], 1), z)
    share: Any = zero                       # of the target, for each class that is there
    if smoothing:
        present = z > number(-np.inf, z)
        share = number(smoothing, z) / nonzero(np.sum(convert(present, kind), axis=axis, keepdims=True))
        share = np.where(present, share, zero)
    if aval_of(labels).dtype.kind in "iu":
        if ignore_index is not None:
            used = labels != ignore_index
            if 0 <= ignore_index < shape[axis]:
                labels = np.where(used, labels, aval_of(labels).dtype.type(shape[axis]))
            rate = 1 / nonzero(np.sum(convert(used, kind)))
        hit = entries(labels, shape, axis)
        if weight is not None:
            rate = 1 / nonzero(np.sum(np.where(hit, convert(weight, kind), zero)))
        if reduction == "mean":         # here, not behind the sum: so the pass needs no result of itself
            terms, rate = terms * rate, None
        if not smoothing:
            terms = np.where(hit, terms, zero)
        else:
            target = np.where(hit, share + number(1 - smoothing, z), share)
            if ignore_index is not None:
                target = np.where(np.expand_dims(used, axis), target, zero)
            terms = OPS["zmul"](target, terms)
    else:
        target = wide(labels)
        terms = OPS["zmul"](number(1 - smoothing, z) * target + share if smoothing else target, terms)
    if weight is not None:
        terms = OPS["zmul"](np.broadcast_to(convert(weight, kind), shape), terms)
    if reduction == "none":
        return convert(np.sum(terms, axis=axis), dtype)
    loss = np.sum(terms)
    return convert(loss * rate if reduction == "mean" and rate is not None else loss, dtype)


@api
def cross_entropy(logits, labels, weight=None, *, axis: int = -1, where=None,
                  ignore_index: int | None = -100, label_smoothing: float = 0.0, reduction: str = "mean"):
    """The cross-entropy of softmax(logits) to labels: -log of the probability of the right class.

    Args:
        logits: floats ``[..., classes]`` (or the classes along ``axis``). Classes at -inf are left out: they
            have no part in the loss, nor a gradient.
        labels: integers ``[...]``, or probabilities in the shape of logits.
        weight: for each class, floats ``[classes]``; the mean of integer labels is weighted with them.
        axis: where the classes are (PyTorch: 1).
        where: bools that broadcast to logits; classes where they are False are left out.
        ignore_index: an integer label whose examples count nothing; None for no such label.
        label_smoothing: so much of the target is spread equally over all classes that are not at -inf.
        reduction: "mean" (over the examples that count), "sum", or "none" for ``[...]``.

    Returns:
        A scalar, or a loss for each example, in the dtype of logits. It is inf where the right class is at
        -inf, and 0 (not nan) where no example counts.

    Raises:
        IndexRangeError: a known label names no class. One that is not known yet (under jit) has loss 0.
        ShapeError: shapes of labels, weight or where do not fit; OptionError: smoothing is not in [0, 1].

    >>> import numpy as np
    >>> from functrans import grad, nn
    >>> logits, labels = np.zeros((2, 4)), np.array([0, 3])
    >>> round(float(nn.cross_entropy(logits, labels)), 6)
    1.386294
    >>> grad(nn.cross_entropy)(logits, labels)[0]
    array([-0.375,  0.125,  0.125,  0.125])
    """
    check_reduction("cross_entropy", reduction)
    (logits,) = floats("cross_entropy", logits=logits)
    a, labels = aval_of(logits), asvalue(labels)
    if not a.ndim:
        raise errors.ShapeError(f"nn.cross_entropy: logits are {a}; an axis of classes is needed.")
    axis, b = axis_of(axis, a.ndim), aval_of(labels)
    classes = a.shape[axis]
    if not classes:
        raise errors.ShapeError(f"nn.cross_entropy: logits are {a}: there are no classes.")
    if not 0 <= label_smoothing <= 1:
        raise errors.OptionError(
            f"nn.cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    if b.dtype.kind in "iu":
        rest = tuple([n for i, n in enumerate(a.shape) if i != axis])
        if b.shape != rest:
            raise errors.ShapeError(f"nn.cross_entropy: integer labels are {b} for logits {a}, whose classes "
                                    f"are axis {axis}.", f"Give labels of shape {rest}.")
        check_range("cross_entropy", "labels", labels, classes, "classes", ignore_index)
    elif b.dtype.kind == "f":
        if b.shape != a.shape:
            raise errors.ShapeError(f"nn.cross_entropy: probabilities are {b} for logits {a}.",
                                    "Give them in the shape of the logits, or integers without that axis.")
        labels = convert(labels, a.dtype)
    else:
        raise errors.DtypeError(f"nn.cross_entropy: labels are {b}.", "Give integers, or probabilities.")
    if weight is not None:
        (weight,) = floats("cross_entropy", weight=weight)
        if aval_of(weight).shape != (classes,):
            raise errors.ShapeError(f"nn.cross_entropy: weight is {aval_of(weight)} for {classes} classes.")
        weight = np.reshape(weight, tuple([classes if i == axis else 1 for i in range(a.ndim)]))
    if where is not None:
        where = bools("cross_entropy", "where", where, a.shape, "logits of shape")
    return _cross_entropy(logits, labels, weight, where, axis=axis, ignore_index=ignore_index,
                          smoothing=float(label_smoothing), reduction=reduction)


@program
def _nll(log_p, labels, weight, *, axis, ignore_index, reduction):
    dtype, z = aval_of(log_p).dtype, wide(log_p)
    hit = entries(labels, aval_of(z).shape, axis)
    if ignore_index is not None:
        hit = hit & np.expand_dims(labels != ignore_index, axis)
    own = number(1, z) if weight is None else convert(weight, aval_of(z).dtype)
    terms = np.where(hit, -own * z, number(0, z))
    if reduction == "none":
        return convert(np.sum(terms, axis=axis), dtype)
    total = np.sum(np.where(hit, own, number(0, z)))
    return convert(np.sum(terms) if reduction == "sum" else np.sum(terms) / nonzero(total), dtype)


@api
def nll_loss(log_probabilities, labels, weight=None, *, axis: int = -1, ignore_index: int | None = -100,
             reduction: str = "mean"):
    """The negative logarithm of the right class's probability, of log-probabilities ``[..., classes]``.

    Args:
        labels, weight, axis, ignore_index, reduction: as of ``cross_entropy``, whose logits need no
            log_softmax before.

    >>> import numpy as np
    >>> from functrans import nn
    >>> float(nn.nll_loss(np.array([[-0.5, -1.0]]), np.array([1])))
    1.0
    """
    check_reduction("nll_loss", reduction)
    (log_p,) = floats("nll_loss", log_probabilities=log_probabilities)
    a, labels = aval_of(log_p), asvalue(labels)
    axis = axis_of(axis, a.ndim)
    rest, b = tuple([n for i, n in enumerate(a.shape) if i != axis]), aval_of(labels)
    if b.dtype.kind not in "iu" or b.shape != rest:
        raise errors.ShapeError(f"nn.nll_loss: labels are {b} for log-probabilities {a}.",
                                f"Give integers of shape {rest}.")
    check_range("nll_loss", "labels", labels, a.shape[axis], "classes", ignore_index)
    if weight is not None:
        (weight,) = floats("nll_loss", weight=weight)
        if aval_of(weight).shape != (a.shape[axis],):
            raise errors.ShapeError(f"nn.nll_loss: weight is {aval_of(weight)} for {a.shape[axis]} classes.")
        weight = np.reshape(weight, tuple([n if i == axis else 1 for i, n in enumerate(a.shape)]))
    return _nll(log_p, labels, weight, axis=axis, ignore_index=ignore_index, reduction=reduction)


# ----- two classes --------------------------------------------------------------------------------


def _pair(name, **operands):
    """Two operands in one float dtype and shape."""
    values = floats(name, **operands)
    try:
        shape = broadcast_shape(*[aval_of(x).shape for x in values])
    except ValueError:
        texts = " and ".join([f"{k} {aval_of(x)}" for k, x in zip(operands, values, strict=True)])
        raise errors.ShapeError(f"nn.{name}: {texts} do not broadcast.",
                                "Each axis must be equal, or 1, counted from the last.") from None
    return [broadcast_to(x, shape) for x in values]


@program
def _sigmoid_cross_entropy(z, y, weight, pos_weight, *, reduction):
    dtype, z, y = aval_of(z).dtype, wide(z), wide(y)
    # 0 * inf is 0: a certain target leaves out the other class
    right, wrong = OPS["zmul"](y, _softplus(-z)), OPS["zmul"](1 - y, _softplus(z))
    if pos_weight is not None:
        right = convert(pos_weight, aval_of(z).dtype) * right
    losses = right + wrong
    if weight is not None:
        losses = convert(weight, aval_of(z).dtype) * losses
    return convert(reduced("sigmoid_cross_entropy", losses, reduction), dtype)


@api
def sigmoid_cross_entropy(logits, labels, weight=None, *, pos_weight=None, reduction: str = "mean"):
    """The cross-entropy of sigmoid(logits) to labels in [0, 1], elementwise.

    ``-labels * log(p) - (1 - labels) * log(1 - p)``, p = sigmoid(logits), exact in both tails.
    Also called ``binary_cross_entropy_with_logits``.

    Args:
        logits, labels: floats that broadcast (bools and integers take the other's dtype).
        weight: factors of the losses, which broadcast to them.
        pos_weight: factors of the part of ``labels``.
        reduction: "mean", "sum" or "none".

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.sigmoid_cross_entropy(np.array([0.0, -9.0]), np.array([1.0, 0.0]), reduction="none").round(6)
    array([6.93147e-01, 1.23000e-04])
    """
    name = "sigmoid_cross_entropy"
    check_reduction(name, reduction)
    logits, labels = _pair(name, logits=logits, labels=labels)
    shape = aval_of(logits).shape
    if weight is not None:
        (weight,) = floats(name, weight=weight)
        broadcasts(name, "weight", weight, shape, "losses of shape")
    if pos_weight is not None:
        (pos_weight,) = floats(name, pos_weight=pos_weight)
        broadcasts(name, "pos_weight", pos_weight, shape, "losses of shape")
    return _sigmoid_cross_entropy(logits, labels, weight, pos_weight, reduction=reduction)


binary_cross_entropy_with_logits = sigmoid_cross_entropy


# ----- distances ----------------------------------------------------------------------------------


def _distance(name, formula, x, target, reduction, **static):
    check_reduction(name, reduction)
    x, target = _pair(name, predictions=x, targets=target)
    return formula(x, target, reduction=reduction, **static)


@program
def _mse(x, y, *, reduction):
    d = wide(x) - wide(y)
    return convert(reduced("mse_loss", d * d, reduction), aval_of(x).dtype)


@api
def mse_loss(predictions, targets, *, reduction: str = "mean"):
    """The squares of the differences.

    >>> import numpy as np
    >>> from functrans import nn
    >>> float(nn.mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    return _distance("mse_loss", _mse, predictions, targets, reduction)


@program
def _l1(x, y, *, reduction):
    return convert(reduced("l1_loss", np.abs(wide(x) - wide(y)), reduction), aval_of(x).dtype)


@api
def l1_loss(predictions, targets, *, reduction: str = "mean"):
    """The absolute differences.

    >>> import numpy as np
    >>> from functrans import nn
    >>> float(nn.l1_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    1.0
    """
    return _distance("l1_loss", _l1, predictions, targets, reduction)


@program
def _huber(x, y, *, delta, scale, reduction):
    d = wide(x) - wide(y)
    size, delta, half = np.abs(d), number(delta, d), number(0.5, d)
    losses = np.where(size <= delta, half * (d * d), delta * (size - half * delta))
    losses = losses if scale == 1 else number(scale, d) * losses
    return convert(reduced("huber_loss", losses, reduction), aval_of(x).dtype)


@api
def huber_loss(predictions, targets, delta: float = 1.0, *, reduction: str = "mean"):
    """Half the square of differences up to ``delta``, and ``delta * (abs(d) - delta / 2)`` beyond.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    array([0.125, 2.5  ])
    """
    if not delta > 0:
        raise errors.OptionError(f"nn.huber_loss: delta must be positive, got {delta}")
    return _distance("huber_loss", _huber, predictions, targets, reduction, delta=float(delta), scale=1)


@api
def smooth_l1_loss(predictions, targets, beta: float = 1.0, *, reduction: str = "mean"):
    """``huber_loss`` with delta = beta, divided by beta; the absolute difference for beta = 0.

    >>> import numpy as np
    >>> from functrans import nn
    >>> float(nn.smooth_l1_loss(np.array([3.0]), np.zeros(1), 2.0))
    2.0
    """
    if not beta >= 0:
        raise errors.OptionError(f"nn.smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(predictions, targets, reduction=reduction)
    return _distance("smooth_l1_loss", _huber, predictions, targets, reduction, delta=float(beta),
                     scale=1 / float(beta))


@program
def _kl(log_q, p, *, log_target, reduction, first):
    dtype, log_q, p = aval_of(log_q).dtype, wide(log_q), wide(p)
    if log_target:
        losses = OPS["zmul"](np.exp(p), p - log_q)
    else:
        losses = OPS["zmul"](p, np.log(p) - log_q)
    if reduction == "batchmean":
        return convert(np.sum(losses) / number(first, losses), dtype)
    return convert(reduced("kl_div", losses, reduction), dtype)


@api
def kl_div(log_predictions, targets, *, log_target: bool = False, reduction: str = "mean"):
    """The terms ``p * (log(p) - log(q))`` of the Kullback-Leibler divergence; 0 where p is 0.

    Args:
        log_predictions: log(q).
        targets: p, or log(p) with ``log_target``.
        reduction: "batchmean" (the divergence: the sum divided by the first extent), "mean", "sum", "none".

    >>> import numpy as np
    >>> from functrans import nn
    >>> q, p = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    >>> round(float(nn.kl_div(np.log(q), p, reduction="batchmean")), 6)
    0.693147
    """
    if reduction != "batchmean":
        check_reduction("kl_div", reduction)
    log_q, p = _pair("kl_div", log_predictions=log_predictions, targets=targets)
    shape = aval_of(log_q).shape
    return _kl(log_q, p, log_target=bool(log_target), reduction=reduction, first=shape[0] if shape else 1)


@program
def _hinge(x, y, *, reduction):
    margin = 1 - wide(x) * wide(y)
    losses = np.where(margin <= 0, number(0, margin), margin)
    return convert(reduced("hinge_loss", losses, reduction), aval_of(x).dtype)


@api
def hinge_loss(predictions, targets, *, reduction: str = "mean"):
    """max(0, 1 - prediction * target) for targets -1 and 1; the derivative at the kink is 0.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.hinge_loss(np.array([0.5, 2.0]), np.array([1.0, 1.0]), reduction="none")
    array([0.5, 0. ])
    """
    return _distance("hinge_loss", _hinge, predictions, targets, reduction)


@program
def _cosine(x, y, *, axis, eps):
    dtype, x, y = aval_of(x).dtype, wide(x), wide(y)
    eps = number(eps * eps, x)

    def length(v):
        return np.sqrt(np.maximum(np.sum(v * v, axis=axis), eps))
    return convert(np.sum(x * y, axis=axis) / (length(x) * length(y)), dtype)


@api
def cosine_similarity(x, y, *, axis: int = -1, eps: float = 1e-8):
    """The cosine of the angle between vectors along an axis; lengths are at least ``eps``.

    >>> import numpy as np
    >>> from functrans import nn
    >>> float(nn.cosine_similarity(np.array([1.0, 0.0]), np.array([3.0, 4.0])))
    0.6
    """
    x, y = _pair("cosine_similarity", x=x, y=y)
    return _cosine(x, y, axis=axis_of(axis, aval_of(x).ndim), eps=float(eps))


__all__: list[Any] = ["binary_cross_entropy_with_logits", "cosine_similarity", "cross_entropy", "hinge_loss",
                      "huber_loss", "kl_div", "l1_loss", "mse_loss", "nll_loss", "sigmoid_cross_entropy",
                      "smooth_l1_loss"]
