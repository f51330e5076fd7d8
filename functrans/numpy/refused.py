"""Names of NumPy that functrans cannot have for traced arrays, and what to use instead."""

from __future__ import annotations

from .. import errors

_NARROW = "Use float16 for storage, and float32 or float64 to compute."
_TINY = "Use int8 or uint8; packbits and unpackbits store bits."
_DATES = "Convert to int64 with numpy before: dates.astype('datetime64[ns]').astype('int64')."
_TEXT = "Keep strings outside of traced functions: pass integers, or mark the argument static."
_MATRIX = "Use arrays: x @ y for products, x.conj().T for .H, linalg.inv(x) for .I."
_MASKED = "Keep a bool array beside the values: where(mask, x, 0), sum(x, where=mask), nanmean and the like."
_RECORD = "Use one array per field, in a dict, a tuple or a dataclass: transforms take pytrees."
_LOOP = "Write whole-array expressions, or functrans.vmap and functrans.lax.scan."

# attributes that do not exist
NAMES = {
    "matrix": _MATRIX, "asmatrix": _MATRIX, "bmat": _MATRIX + " block joins arrays.", "matlib": _MATRIX,
    "ma": _MASKED,
    "rec": _RECORD, "recarray": _RECORD, "record": _RECORD, "void": _RECORD,
    "char": _TEXT, "strings": _TEXT, "chararray": _TEXT, "str_": _TEXT, "bytes_": _TEXT,
    "datetime64": _DATES, "timedelta64": _DATES, "busday_count": _DATES, "busday_offset": _DATES,
    "busdaycalendar": _DATES, "is_busday": _DATES, "datetime_as_string": _DATES, "datetime_data": _DATES,
    "longdouble": "Use float64.", "float128": "Use float64.", "float96": "Use float64.",
    "clongdouble": "Use complex128.", "complex256": "Use complex128.", "complex192": "Use complex128.",
    "nditer": _LOOP, "nested_iters": _LOOP, "flatiter": "Use x.ravel().",
    "frompyfunc": "It makes object arrays: use vectorize.",
    "poly1d": "Use the coefficients themselves with polyval, polyadd, polymul, polyder, roots ...",
    "emath": "Its dtypes depend on values: use sqrt(x.astype(complex)) and the like.",
    "random": "Use functrans.random, whose keys are values; or numpy.random outside of traced functions.",
    "memmap": "Use numpy.memmap and pass the array as an argument.",
    "ctypeslib": "Use functrans.pure_callback to call C from a traced function.",
    "f2py": "It compiles Fortran: use numpy.f2py.",
    "lib": "It is about NumPy's insides: use numpy.lib.",
    "core": "It is about NumPy's insides: use numpy itself.",
    "test": "It runs NumPy's own tests: numpy.test().",
    "bfloat16": _NARROW, "float4_e2m1fn": _NARROW, "float6_e2m3fn": _NARROW, "float6_e3m2fn": _NARROW,
    "float8_e3m4": _NARROW, "float8_e4m3": _NARROW, "float8_e4m3b11fnuz": _NARROW, "float8_e4m3fn": _NARROW,
    "float8_e4m3fnuz": _NARROW, "float8_e5m2": _NARROW, "float8_e5m2fnuz": _NARROW, "float8_e8m0fnu": _NARROW,
    "int1": _TINY, "int2": _TINY, "int4": _TINY, "uint1": _TINY, "uint2": _TINY, "uint4": _TINY,
}

# functions that take known values only
_OUTPUT = "Return the value from the function and save it outside; functrans.debug.print shows values."
KNOWN_ONLY = {
    "save": _OUTPUT, "savez": _OUTPUT, "savez_compressed": _OUTPUT, "savetxt": _OUTPUT,
    "broadcast": "Use broadcast_arrays, or broadcast_shapes(x.shape, y.shape).",
    "format_float_positional": _OUTPUT, "format_float_scientific": _OUTPUT,
    "base_repr": _OUTPUT, "binary_repr": _OUTPUT, "from_dlpack": "A traced value has no memory to share.",
    "frombuffer": "Use x.view(dtype).", "fromiter": "Use stack(list of traced values).",
    "fromstring": _TEXT,
}


def missing(name: str) -> errors.MissingNameError:
    """The error of asking functrans.numpy for a name of ``NAMES``."""
    return errors.MissingNameError(f"functrans.numpy has no {name!r}.", NAMES[name])


def refuse(name: str, module: str = "numpy") -> errors.NotSupportedError:
    """The error of calling a NumPy function with a traced value that it cannot take."""
    instead = {**NAMES, **KNOWN_ONLY}.get(name, "Write it with supported functions (see functrans.numpy).")
    return errors.NotSupportedError(f"{module}.{name} has no traced version.", instead)


# ----- attributes of ndarrays -----------------------------------------------------------------------------

_NO_MEMORY = "A traced value has no memory of its own: pass it to functions, or return it."
ATTRIBUTES = {"base": _NO_MEMORY, "ctypes": _NO_MEMORY, "data": _NO_MEMORY, "strides": _NO_MEMORY,
              "__array_interface__": _NO_MEMORY, "__array_struct__": _NO_MEMORY}
CALLS = {"tobytes": _OUTPUT, "tofile": _OUTPUT, "dump": _OUTPUT, "dumps": _OUTPUT, "getfield": _RECORD,
         "byteswap": "Use x.view(np.uint8)."}
