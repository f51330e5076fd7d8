"""Which fields of a dataclass are children of its pytree node, and which are static data."""

import dataclasses


def split_fields(cls, data_fields=None, meta_fields=()):
    """(children, static fields, whether to rebuild by the constructor, ... by position)."""
    fields = dataclasses.fields(cls)
    # A constructor of the user's own, or one with arguments that are not kept (InitVar), cannot be
    # called again: then all fields are children and are set one by one.
    by_init = _is_generated(cls.__init__, [f.name for f in fields if f.init])
    usable = [f for f in fields if f.init or not by_init]
    meta = list(meta_fields)
    if data_fields is None:
        meta += [f.name for f in usable if f.metadata.get("static") and f.name not in meta]
        data_fields = [f.name for f in usable if f.name not in meta]
    names = tuple(data_fields)
    positional = (
        by_init and names == tuple(f.name for f in usable) and not any(f.kw_only for f in usable)
    )
    return names, tuple(meta), by_init, positional


def _is_generated(init, names):
    code = getattr(init, "__code__", None)
    if code is None or code.co_filename != "<string>":
        return False
    return sorted(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]) == sorted(names)


def check_fields(cls, data_fields, meta_fields):
    """Refuse a choice of fields that the class could not be rebuilt from."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"register_dataclass needs a dataclass, got {cls!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    named = (*(data_fields or ()), *meta_fields)
    for name in named:
        if name not in fields:
            raise ValueError(f"{cls.__name__} has no field {name!r}; it has {', '.join(fields)}")
        if named.count(name) > 1:
            raise ValueError(f"field {name!r} of {cls.__name__} is named twice")
    if data_fields is not None:
        for name, f in fields.items():
            if f.init and name not in named:
                raise ValueError(
                    f"field {name!r} of {cls.__name__} is in neither data_fields nor meta_fields"
                )
    by_init = split_fields(cls, data_fields, meta_fields)[2]
    for name in named:
        if by_init and not fields[name].init:
            raise ValueError(
                f"field {name!r} of {cls.__name__} has init=False: the constructor computes it"
            )
