"""The kernel room.

In: the op table (when built) and steps as ``abi.h`` describes them. Out: kernels by name, threads.
What must hold: no kernel traps, reads outside its operands, or gives bits that depend on the number
of threads; levels v3 and v4 give equal bits.
"""
