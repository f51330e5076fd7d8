"""The transform room: passes from jaxpr to jaxpr.

In: a jaxpr and which inputs are perturbed, linear or batched. Out: a new jaxpr (or values of the
current builder) and the same masks for its outputs. What must hold: passes interpret equations in
order and bind into the current builder; symbolic zeros and masks live inside passes only; every
rule comes from the op's record.
"""
