"""From a Python call to a program and back: arguments, pytrees, captured values, caches, the fast path."""
