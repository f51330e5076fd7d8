"""The functions that ``from functrans import ...`` gives: transforms of functions, and what is built on them.

Each takes a user's function apart by ``calling``, asks ``transform`` for a pass over its program, and puts
the results together again.
"""
