"""The IR room.

In: nothing (it stands below all others). Out: avals, variables, equations, jaxprs; the op record and
its families; a printer and a checker. What must hold: a jaxpr has no free variables, operands of an
elementwise op have equal shapes and dtypes, every value is immutable, and ``op`` imports without
compiled modules because the build reads the op table.
"""
