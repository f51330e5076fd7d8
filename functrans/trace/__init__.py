"""The tracing room.

In: a Python function and the avals of its inputs. Out: a jaxpr, the values it captured, and what the
function returned beside arrays. What must hold: one stack of open builders per thread, closed in
``finally``; every operand belongs to the builder that records it; a value is known only if it follows
from known inputs.
"""
