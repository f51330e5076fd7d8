"""Writes the C sources of the kernels that follow from tables: elementwise ops from the op records,
reductions and other templates from the tables below.

The build calls ``write_sources``; at run time ``check_table`` compares the records with what was
compiled. Each part is one translation unit, compiled once per instruction-set level.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from . import pairs

C_TYPE = {"b1": "uint8_t", "i8": "int8_t", "i16": "int16_t", "i32": "int32_t", "i64": "int64_t",
          "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t",
          "f32": "float", "f64": "double", "c64": "float _Complex", "c128": "double _Complex"}
SIZE = {"b1": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "i32": 4, "u32": 4, "f32": 4,
        "i64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16, "f16": 2}
BITS_TYPE = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "double _Complex"}
COMPLEX = ("c64", "c128")
CODES = tuple(C_TYPE)
REALS = tuple(c for c in CODES if c not in COMPLEX)
FLOATS = ("f32", "f64")
INTS = tuple(c for c in CODES if c[0] in "iu")
WIDE = ("i64", "u32", "u64")            # index types that are computed with as int64
OPERANDS = "xyzw"
PARTS = ("float", "joined_f32", "joined_f64", "int", "complex", "convert", "reduce", "other", "index",
         "scalar", "product", "sort", "random", "fourier", "statistics", "special")

# Vector code for all but far arguments: their loop looks for those first.
FAR_CALLS = {"ft_sin(x)": "sin", "ft_cos(x)": "cos", "ft_tan(x)": "tan",
             "ft_erf_inv(x)": "erf_inv"}
# Functions that take fewer operations where no argument is extreme: their loop looks for that too.
NEAR_CALLS = {"ft_exp(x)": "exp", "ft_log(x)": "log", "ft_log1p(x)": "log1p"}
# Nanoseconds an element of 8 bytes, one thread, in cache, measured at v4: plans estimate with them.
NS_PLAIN, NS_DIVISION, NS_ROOT, NS_FUNCTION = 0.11, 1.8, 0.4, 1.5
NS_SCALAR = {"pow": 4.0, "hypot": 6.0, "fmod": 4.5, "mod": 5.0, "floordiv": 5.5, "nextafter": 3.4,
             "logaddexp": 4.0, "lgamma": 20.0, "integer_pow": 2.0}
NS_COMPLEX = 25.0
PLAIN_COMPLEX = ("ft_cmul", "ft_real", "ft_imag", "ft_conj", "ft_complex", "ft_corder", "ft_cisinf",
                 "ft_cisfinite", "ft_crint")         # what is worth vector code
# Which operands may be scalars in the loops over adjacent elements, by number of operands.
STILL: dict[int, list[tuple[int, ...]]] = {1: [], 2: [(1,), (0,)], 3: [(2,), (1,), (1, 2)]}
# Calls of SciPy's functions (special.h): (macro, function).
SCIPY_CALL = re.compile(r"\b(ft_sp\d\w*)\((\w+),")
CHEAP_CALLS = ("ft_wrap", "ft_abs", "ft_floor", "ft_ceil", "ft_trunc", "ft_rint", "ft_copysign",
               "ft_max", "ft_min", "ft_fmax", "ft_fmin", "ft_isinf", "ft_isfinite", "ft_signbit",
               "ft_shl", "ft_shr", "ft_unsigned")


# ----- the op table -------------------------------------------------------------------------------


def records() -> list[Any]:
    """The elementwise ops, in the order of their modules."""
    from ..ops import bessel, elementwise, integrals, special
    seen = {id(v): v for module in (elementwise, special, bessel, integrals) for v in vars(module).values()
            if getattr(v, "c", None) is not None}
    return list(seen.values())


def expression(op: Any, code: str) -> str:
    """The C expression of an op for one operand dtype."""
    if isinstance(op.c, str):
        return op.c
    kind = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float",
            "c": "complex"}[code[0]]
    for key in (code, kind, "int" if code in INTS else None):
        if key in op.c:
            return op.c[key]
    raise KeyError(f"op {op.name} has no C expression for {code}: {op.c}")


def out_code(op: Any, code: str) -> str:
    """The dtype of the result, as the record's own rule says."""
    from ..ir.op import CODE, DTYPE
    main = SimpleNamespace(shape=(), dtype=DTYPE[code])
    avals = [main] * op.arity
    if op.name == "select":
        avals[0] = SimpleNamespace(shape=(), dtype=DTYPE["b1"])
    params = dict.fromkeys(op.param_names, 2)
    return CODE[op.infer(*avals, **params)[1]]


def table() -> list[tuple[str, str, str, str]]:
    """(op, operand dtype, result dtype, C expression) of each elementwise kernel but convert."""
    rows = []
    for op in records():
        if op.name == "convert":
            continue
        codes = [c for c in op.dtypes if c in C_TYPE]
        rows += [(op.name, c, out_code(op, c), expression(op, c)) for c in codes]
    return rows


def scipy_calls() -> dict[str, str]:
    """SciPy's functions that the table calls, in the order of their numbers: by which macro each."""
    return {name: macro for *_, text in table() for macro, name in SCIPY_CALL.findall(text)}


def table_hash() -> str:
    """Of names, dtypes and C expressions only: other changes of a record need no rebuild."""
    from . import codegen_joined
    lines = ["|".join(row) for row in (*table(), *codegen_joined.table(sys.modules[__name__]))]
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"


def check_table() -> None:
    """Refuses kernels that were built from another op table."""
    from . import lib
    if lib.table_hash() != table_hash():
        raise ImportError("functrans: the compiled kernels were built from another op table; "
                          "run: pip install -e .")


# ----- elementwise loops --------------------------------------------------------------------------


def cost_of_complex(text: str) -> float:
    plain = "ft_" not in text or any(name in text for name in PLAIN_COMPLEX)
    return NS_PLAIN if plain else NS_ROOT if "ft_cdiv" in text else NS_COMPLEX


def cost(op: Any, code: str, text: str) -> float:
    """Rough nanoseconds an element."""
    if op.ns is not None:
        return float(op.ns)
    if code in COMPLEX:
        return cost_of_complex(text) * SIZE[code] / 8
    if op.name in NS_SCALAR and code in FLOATS:          # does not vectorise
        return NS_SCALAR[op.name]
    for name in CHEAP_CALLS:
        text = text.replace(name, "")
    if "ft_" in text and code in INTS:                   # nor does this
        return NS_DIVISION
    whole = NS_ROOT if "ft_sqrt" in text or " / " in text else NS_FUNCTION if "ft_" in text \
        else NS_PLAIN
    return whole * SIZE[code] / 8


def plain_loop(types: list[str], scalars: tuple[int, ...]) -> str:
    """The loop over adjacent elements, where the operands in `scalars` do not move."""
    names = OPERANDS[:len(types)]
    head, body = [], []
    for i, (v, t) in enumerate(zip(names, types, strict=True)):
        if i in scalars:
            head.append(f"const {t} {v} = *(const {t} *)p[{i + 1}];")
        else:
            head.append(f"const {t} *p{v} = (const {t} *)p[{i + 1}];")
            body.append(f"const {t} {v} = p{v}[i];")
    return (f"        U *o = (U *)p[0];\n        {' '.join(head)}\n        FT_IVDEP\n"
            f"        for (int64_t i = 0; i < n; i++) {{ {' '.join(body)} o[i] = (U)(EXPR); }}\n")


def _near_loop(name: str, code: str, bits: str) -> str:
    return (f"        U *o = (U *)p[0];\n        const T *px = (const T *)p[1];\n"
            f"        FT_NEAR_LOOP({name}, {code}, {bits}, o, px, n)\n")


def _far_loop(name: str, code: str) -> str:
    if name == "erf_inv":
        return (f"        U *o = (U *)p[0];\n        const T *px = (const T *)p[1];\n"
                f"        FT_ERFINV_LOOP({code}, T, o, px, n)\n")
    return (f"        U *o = (U *)p[0];\n        const T *px = (const T *)p[1];\n"
            f"        FT_FAR_LOOP(ft_fast_{name}_{code}, ft_{name}_{code}, "
            f"FT_TRIG_FAR_{code.upper()}, o, px, n)\n")


def loop_function(name: str, text: str, operand: str, types: list[str], out: str,
                  unsigned: str, power: bool) -> str:
    """One ft_loop_fn: adjacent operands, some of them scalars, or any strides."""
    n = len(types)
    lines = [f"static void {name}(char **p, const int64_t *st, int64_t n)\n{{\n"
             f"    typedef {operand} T; typedef {out} U; typedef {unsigned} ft_unsigned;\n"]
    if power:
        lines.append(f"    const int64_t k = *(const int64_t *)p[{n + 1}];\n")
    cases = [(), *STILL.get(n, [])]
    if "ft_sp" in text or ("_Complex" in operand and cost_of_complex(text) > NS_PLAIN):
        cases = []                     # calls dominate
    for scalars in cases:
        tests = ["st[0] == sizeof(U)"]
        tests += [f"st[{i + 1}] == 0" if i in scalars else f"st[{i + 1}] == sizeof({t})"
                  for i, t in enumerate(types)]
        loop = plain_loop(types, scalars).replace("EXPR", text)
        if text in FAR_CALLS:
            loop = _far_loop(FAR_CALLS[text], "f32" if operand == "float" else "f64")
        elif text in NEAR_CALLS:
            loop = _near_loop(NEAR_CALLS[text], "f32" if operand == "float" else "f64", unsigned)
        lines.append(f"    if ({' && '.join(tests)}) {{\n{loop}        return;\n    }}\n")
    loads = " ".join(f"const {t} {v} = *(const {t} *)p{v};"
                     for v, t in zip(OPERANDS, types, strict=False))
    heads = " ".join(f"const char *p{v} = p[{i + 1}]; const int64_t s{v} = st[{i + 1}];"
                     for i, v in enumerate(OPERANDS[:n]))
    steps = ", ".join(["o += so"] + [f"p{v} += s{v}" for v in OPERANDS[:n]])
    lines.append(f"    char *o = p[0]; const int64_t so = st[0];\n    {heads}\n"
                 f"    for (int64_t i = 0; i < n; i++, {steps}) "
                 f"{{ {loads} *(U *)o = (U)({text}); }}\n")
    lines.append("    (void)sizeof(ft_unsigned); (void)sizeof(T);\n}\n")
    return "".join(lines)


def _unsigned(code: str) -> str:
    return "uint64_t" if SIZE[code] == 8 else "uint32_t"


class Part:
    """One translation unit: text, and its entries of the kernel table."""

    def __init__(self, name: str):
        self.name = name
        self.text: list[str] = []
        self.entries: list[tuple[str, str, str, float]] = []

    def add(self, text: str) -> None:
        self.text.append(text)

    def entry(self, name: str, driver: str, kernel: str, ns: float) -> None:
        self.entries.append((name, driver, kernel, ns))

    def source(self) -> str:
        rows = "".join(f'    {{"{n}", {d}, (const void *){k}, {ns}}},\n'
                       for n, d, k, ns in self.entries)
        includes = "".join(f'#include "{h}"\n' for h in
                           ("vmath.h", "complexmath.h", "half.h", "scalar.h", "driver.h", "reduce.h",
                            "move.h", "index.h", "matmul.h", "conv.h", "window.h", "scalar_vm.h",
                            "stream.h", "sort.h", "lapack.h", "random.h", "specfun.h"))
        if self.name in ("special", "scalar"):       # in the source, which a new function changes
            includes += f"enum {{ {', '.join(f'FT_SP_{n}' for n in scipy_calls())}, FT_SPECIALS }};\n" \
                        '#include "special.h"\n'
        if self.name == "scalar":                    # a number at a time: see fastmath.h
            includes = "#define FT_ONE_BY_ONE\n" + includes
        return ("/* Generated by functrans/kernels/codegen.py. */\n" + includes + "\n"
                "#define GLUE_(a, b) a##b\n#define GLUE(a, b) GLUE_(a, b)\n\n"
                + "\n".join(self.text)
                + f"\nconst ft_entry GLUE(ft_table_{self.name}_, FT_LEVEL)[] = {{\n{rows}"
                  "    {0, 0, 0, 0},\n};\n")


def elementwise_parts() -> Iterator[Part]:
    floats, ints, complexes, specials = Part("float"), Part("int"), Part("complex"), Part("special")
    by_name = {op.name: op for op in records()}
    made: dict[tuple, str] = {}
    for name, code, out, text in table():
        op = by_name[name]
        moved = text in ("x", "x ? y : z") and out == code     # moves bits: one loop per item size
        operand = BITS_TYPE[SIZE[code]] if moved else C_TYPE[code]
        types = [operand] * op.arity
        if name == "select":
            types[0] = C_TYPE["b1"]
        result = operand if moved else C_TYPE[out]
        part = ints if moved else specials if "ft_sp" in text else floats if code in FLOATS \
            else complexes if code in COMPLEX else ints
        key = (name, text, operand, result, part.name)
        if key not in made:
            made[key] = f"ew_{name}_{code}"
            part.add(loop_function(made[key], text, operand, types, result, _unsigned(code),
                                   bool(op.param_names)))
        part.entry(f"ew:{name}:{code}", f"ft_run_ew{op.arity + 1}", made[key],
                   round(cost(op, code, text), 4))
    yield floats
    yield ints
    yield complexes
    yield specials


def convert_text(source: str, target: str) -> str:
    if source == target or (source in INTS and target in INTS and SIZE[source] == SIZE[target]):
        return "x"
    if target == "b1":
        return "x != 0"
    return "FT_SATURATE(T, U, x)" if source in FLOATS and target in INTS else "(U)x"


def joined_parts() -> list[Part]:
    """Loops of several ops, one unit for each dtype."""
    from . import codegen_joined
    return [codegen_joined.part(sys.modules[__name__], code) for code in pairs.DTYPES]


def scalar_part() -> Part:
    """The interpreter of scalar programs."""
    from . import codegen_scalar
    part = Part("scalar")
    part.add(codegen_scalar.source(sys.modules[__name__])[0])
    part.entry("scalar", "ft_run_scalar", "vm_run", NS_PLAIN)
    return part


def scalar_names() -> list[str]:
    from . import codegen_scalar
    return codegen_scalar.source(sys.modules[__name__])[1]


def convert_part() -> Part:
    part = Part("convert")
    casts = [(source, target) for source in REALS for target in REALS]
    # other ways of complex numbers are compositions, see plan/dtypes.py
    casts += [("f32", "c64"), ("c64", "f32"), ("f64", "c128"), ("c128", "f64"), ("c64", "c128"),
              ("c128", "c64")]
    for source, target in casts:
        size = SIZE[source]
        s, t = C_TYPE[source], C_TYPE[target]
        name = f"convert_{source}_{target}"
        if source == target or (source in INTS and target in INTS and size == SIZE[target]):
            # the bits stay: one loop per item size
            name = f"convert_bits_{size}"
            s = t = BITS_TYPE[size]
        text = convert_text(source, target)
        code = f"static void {name}("
        if not any(t_.startswith(code) for t_ in part.text):
            part.add(loop_function(name, text, s, [s], t, "uint64_t", False))
        part.entry(f"ew:convert:{source}:{target}", "ft_run_ew2", name, 2 * NS_PLAIN)
    for target in FLOATS:
        for way, fields in (("from", ("f16", target)), ("to", (target, "f16"))):
            name = f"convert_{way}_f16_{target}"
            types = [{"f16": "uint16_t"}.get(c) or C_TYPE[c] for c in fields]
            part.add(loop_function(name, f"ft_half_{way}_{target}(x)", types[0], types[:1], types[1],
                                   "uint64_t", False))
            part.entry(f"ew:convert:{fields[0]}:{fields[1]}", "ft_run_ew2", name, 2 * NS_PLAIN)
    return part


# ----- templates ----------------------------------------------------------------------------------


def include(body: str, **defines: str) -> str:
    """A template header with its parameters; `FT_COMB="(a) + (b)"` defines a macro of a and b."""
    lines = []
    for name, text in defines.items():
        args = {"FT_COMB": "(a, b)", "FT_VCOMB": "(a, b)", "FT_BEATS": "(a, b)",
                "FT_ADD": "(a, b)", "FT_VADD": "(a, b)", "FT_MAD": "(a, b, c)",
                "FT_VMAD": "(a, b, c)", "FT_NAME": "(part)",
                "FT_KEY": "(b, v)", "FT_UNKEY": "(k)", "FT_PLAIN": "(v)", "FT_POSITION": "(v)",
                "FT_SQUARE": "(a, c)"}.get(name, "")
        lines.append(f"#define {name}{args} {text}\n")
    return "".join(lines) + f'#include "{body}"\n' + "".join(f"#undef {n}\n" for n in defines)


def _extreme(code: str, low: bool) -> str:
    if code in FLOATS:
        return f"({'-' if low else ''}({C_TYPE[code]})INFINITY)"
    if code == "b1" or code[0] == "u":
        ones = "1" if code == "b1" else f"({C_TYPE[code]})-1"
        return "0" if low else ones
    bits = 8 * SIZE[code]
    return f"INT{bits}_MIN" if low else f"INT{bits}_MAX"


def reduction(op: str, code: str) -> tuple[str, str, str]:
    """Scalar and vector combination, identity."""
    if op in ("max", "min"):
        pick = f"ft_{op}(a, b)" if code in FLOATS else f"((a) {'><'[op == 'min']}= (b) ? (a) : (b))"
        return pick, f"FT_V{op.upper()}(a, b)", _extreme(code, op == "max")
    if code == "b1":                       # NumPy's sum and product of bools are or and and
        op = {"sum": "or", "prod": "and"}.get(op, op)
    if code in COMPLEX and op == "prod":
        return "ft_cmul(a, b)", "", "1"
    sign = {"sum": "+", "prod": "*", "or": "|", "and": "&", "xor": "^"}[op]
    ones = "1" if op == "prod" or code == "b1" else f"({C_TYPE[code]})-1"
    return f"((T)((a) {sign} (b)))", f"((a) {sign} (b))", "0" if op in ("sum", "or", "xor") else ones


def reduce_part() -> Part:
    part = Part("reduce")
    for op in ("sum", "prod", "max", "min", "and", "or", "xor"):
        for code in CODES:
            if (op in ("and", "or", "xor") and code in FLOATS) or (
                    op not in ("sum", "prod") and code in COMPLEX):
                continue
            scalar, vector, identity = reduction(op, code)
            more = {"FT_PAIRS": ""} if code in COMPLEX else {}
            part.add(include("reduce_body.h", T=C_TYPE[code], FT_NAME=f"{op}_{code}_##part",
                             FT_COMB=scalar, FT_VCOMB=vector, FT_IDENTITY=identity, **more))
            part.entry(f"reduce:{op}:{code}", "ft_run_reduce", f"&{op}_{code}_kernel", NS_PLAIN)
    for op, beats in (("max", "(((a) > (b)) | ((a) != (a)))"), ("min", "(((a) < (b)) | ((a) != (a)))")):
        for code in REALS:
            part.add(include("arg_body.h", T=C_TYPE[code], FT_NAME=f"arg{op}_{code}_##part",
                             FT_BLOCK=f"{op}_{code}_block", FT_BEATS=beats))
            part.entry(f"argreduce:{op}:{code}", "ft_run_argreduce", f"&arg{op}_{code}_kernel", NS_PLAIN)
    return part


def other_part() -> Part:
    part = Part("other")
    for op in ("sum", "prod", "max", "min"):
        for code in CODES if op in ("sum", "prod") else REALS:
            part.add(include("cumulative_body.h", T=C_TYPE[code], FT_NAME=f"cum{op}_{code}_##part",
                             FT_COMB=reduction(op, code)[0]))
            part.entry(f"cumulative:{op}:{code}", "ft_run_lines", f"cum{op}_{code}_line", 1.0)
    for code in FLOATS:
        part.add(include("logsumexp_body.h", T=C_TYPE[code],
                         FT_NAME=f"cumlogsumexp_{code}_##part"))
        part.entry(f"cumulative:logsumexp:{code}", "ft_run_lines", f"cumlogsumexp_{code}_line",
                   5 * NS_FUNCTION)

    for size, t in BITS_TYPE.items():
        more = {"FT_PAIRS": ""} if size == 16 else {}
        part.add(include("copy_body.h", T=t, FT_NAME=f"copy{size}_##part", **more))
        part.entry(f"copy:{size}", "ft_run_copy", f"copy{size}_plane", NS_PLAIN * size / 4)
        part.entry(f"join:{size}", "ft_run_join", f"copy{size}_plane", 2 * NS_PLAIN)
        part.entry(f"dynslice:{size}", "ft_run_dynslice", f"copy{size}_plane", 2 * NS_PLAIN)
        part.entry(f"dynupdate:{size}", "ft_run_dynupdate", f"copy{size}_plane", 2 * NS_PLAIN)
    part.entry("stream:8", "ft_run_copy", "ft_stream", NS_PLAIN)
    for code in CODES:
        part.add(include("iota_body.h", T=C_TYPE[code], FT_NAME=f"{code}_##part"))
        part.entry(f"iota:{code}", "ft_run_iota", f"{code}_iota", NS_PLAIN)

    for code in REALS:
        for op in ("sum", "max", "min"):
            name = f"window_{op}_{code}"
            if code == "b1":
                continue
            scalar, _, identity = reduction(op, code)
            beats = {"max": "((b) > (a) || ((b) != (b) && (a) == (a)))",
                     "min": "((b) < (a) || ((b) != (b) && (a) == (a)))", "sum": "0"}[op]
            part.add(include("window_body.h", T=C_TYPE[code], FT_NAME=f"{name}_##part",
                             FT_COMB=scalar, FT_IDENTITY=identity, FT_BEATS=beats))
            part.entry(f"window:{op}:{code}", "ft_run_window", f"&{name}_kernel", NS_PLAIN)
            if op != "sum" and code in FLOATS:
                part.entry(f"window_pick:{op}:{code}", "ft_run_window_pick", f"&{name}_kernel", 1.0)
                part.entry(f"window_put:{op}:{code}", "ft_run_window_put", f"&{name}_kernel", 1.0)

    for code in ("f32", "f64", "c64", "c128"):
        for name in ("cholesky", "lu", "lu_solve", "triangular_solve", "qr", "eigh", "svd", "eig", "lstsq",
                     "schur", "schur_order", "sylvester", "sqrtm", "logm", "expm"):
            part.entry(f"{name}:{code}", "ft_run_matrices", f"ft_{name}_{code}", 1.0)
    return part


def index_part() -> Part:
    """Positions of every integer type, and what is read and written at them."""
    part = Part("index")
    part.add("#define FT_ROWS 512\n"
             "static void ft_wide_rows(int64_t *, const void *, int64_t, int64_t, int64_t, int, int);\n")
    for code in INTS:
        value = "((v) > INT64_MAX ? INT64_MAX : (int64_t)(v))" if code == "u64" else "(v)"
        part.add(include("index_body.h", T=C_TYPE[code], W="int64_t" if code in WIDE else "int32_t",
                         FT_NAME="ft_wide_##part" if code == "i64" else f"index_{code}_##part",
                         FT_POSITION=value))
    rows = ", ".join(["{ft_wide_rows, ft_wide_read}" if code == "i64" else
                      f"{{index_{code}_rows, index_{code}_read}}" for code in INTS])
    part.add(f'static const ft_index ft_index_table[FT_INDEX_TYPES] = {{{rows}}};\n#include "pick_body.h"\n')
    for size in BITS_TYPE:
        part.add(f"static const ft_gather gather_{size} = {{{size}, ft_index_table, ft_pick}};\n")
        part.entry(f"gather:{size}", "ft_run_gather", f"&gather_{size}", 1.0)
    for code in CODES:
        forms = {"set": "(b)", "add": reduction("sum", code)[0], "mul": reduction("prod", code)[0]}
        if code in REALS:
            forms |= {op: reduction(op, code)[0] for op in ("max", "min")}
        if code in FLOATS:      # a form that compilers make no branch of, which would be guessed wrong
            forms |= {op: f"((b) != (b) ? (b) : (b) {sign} (a) ? (b) : (a))" for op, sign in
                      (("max", ">"), ("min", "<"))}
        for op, text in forms.items():
            name = f"scatter_{op}_{code}_"
            part.add(include("scatter_body.h", T=C_TYPE[code], FT_NAME=f"{name}##part",
                             FT_COMB=text, FT_PIECES=str(int(op in ("add", "max", "min"))),
                             FT_AGAIN=str(int(op != "add"))))
            part.entry(f"scatter:{op}:{code}", "ft_run_scatter", f"&{name}kernel", 1.0)
    return part


def product_part() -> Part:
    part = Part("product")
    convolutions = []
    for code in REALS:
        scalar, vector = "((T)((c) + (a) * (b)))", "((c) + (a) * (b))"
        if code == "b1":
            scalar, vector = "((T)((c) | ((a) & (b))))", "((c) | ((a) & (b)))"
        elif code in FLOATS:
            scalar, vector = f"FT_MAD_{code}(a, b, c)", f"FT_VMAD_{code}(a, b, c)"
        sign = "|" if code == "b1" else "+"
        more = {"FT_MM_FLOAT": "1"} if code in FLOATS else {}
        if code in FLOATS or code[0] == "u":        # signed integers wrap to the same bits
            more["FT_CONV"] = "1"
        part.add(include("matmul_body.h", T=C_TYPE[code], FT_NAME=f"mm_{code}_##part",
                         FT_MAD=scalar, FT_VMAD=vector, FT_ADD=f"((T)((a) {sign} (b)))",
                         FT_VADD=f"((a) {sign} (b))", **more))
        part.entry(f"matmul:{code}", "ft_run_matmul", f"&mm_{code}_kernel", NS_PLAIN)
        if code != "b1":
            kernel = f"&mm_{code.replace('i', 'u')}_conv"
            convolutions.append((f"conv:{code}", "ft_run_conv", kernel, NS_PLAIN))
    for row in convolutions:
        part.entry(*row)
    return part


def sort_part() -> Part:
    """Keys that order as the elements do; narrower types are sorted as i32."""
    part = Part("sort")
    for code in ("i32", "i64", "u32", "u64", *FLOATS):
        key, value, plain = "(b)", "(k)", "(v)"
        if code in FLOATS:
            key = ("((v) != (v) ? (K)-1 : (b) ^ ((K)(0 - ((b) >> (8 * sizeof(K) - 1))) | FT_TOP))")
            value, plain = "((k) ^ ((k) & FT_TOP ? FT_TOP : (K)-1))", "((v) + (T)0)"
        elif code[0] == "i":
            key, value = "((b) ^ FT_TOP)", "((k) ^ FT_TOP)"
        part.add(include("sort_body.h", T=C_TYPE[code], K=BITS_TYPE[SIZE[code]],
                         FT_NAME=f"sort_{code}_##part", FT_KEY=key, FT_UNKEY=value, FT_PLAIN=plain))
        for name in ("sort", "argsort", "argselect", "partition", "top_k", "searchsorted"):
            part.entry(f"{name}:{code}", f"ft_run_{name}", f"&sort_{code}_kernel", 10.0)
    return part


def random_part() -> Part:
    """Draws from counters, which are vector code, and the samplers, which are not."""
    part = Part("random")
    part.add('#include "random_body.h"\n')
    for name, ns in (("u8", 0.7), ("u16", 0.7), ("u32", 0.7), ("u64", 0.8), ("pair", 0.9), ("unit_f32", 0.7),
                     ("unit_f64", 0.8), ("normal_f32", 1.2), ("normal_f64", 2.2)):
        part.entry(f"random:{name}", "ft_run_random", f"random_{name}", ns)
    part.entry("threefry", "ft_run_threefry", "threefry_pairs", 5.0)
    for name, ns in (("gamma", 90.0), ("loggamma", 80.0), ("poisson", 100.0), ("binomial", 120.0)):
        for code in FLOATS:
            part.entry(f"sampler:{name}:{code}", "ft_run_sampler", f"&ft_{name}_{code}", ns)
    return part


def fourier_part() -> Part:
    part = Part("fourier")
    part.add('#include "fft.h"\n')
    for code in FLOATS:
        part.add(include("fft_body.h", T=C_TYPE[code], FT_SIZE=str(SIZE[code]), FT_NAME=f"fft_{code}_##part"))
        part.entry(f"fft:{code}", f"fft_{code}_run", "0", 1.0)
    return part


def statistics_part() -> Part:
    part = Part("statistics")
    part.add('#include "statistics.h"\n')
    for code, square in (("f32", "FT_VMAD_f64(a, a, c)"), ("f64", "((a) * (a) + (c))")):
        part.add(include("statistics_body.h", T=C_TYPE[code], FT_INT=C_TYPE[code.replace("f", "i")],
                         FT_SQUARE=square, FT_NAME=f"statistics_{code}_##part"))
        part.entry(f"statistics:{code}", "ft_run_statistics", f"&statistics_{code}_kernel", 2 * NS_PLAIN)
    return part


# ----- files --------------------------------------------------------------------------------------


def levels_header(levels: list[str]) -> str:
    """What lib.pyx includes: the tables of each level, best last, and the hash."""
    names = [[f"ft_table_{part}_{level}" for part in PARTS] for level in levels]
    names_of_vm, calls = scalar_names(), scipy_calls()
    specials = " ".join(f"{macro}:{name}" for name, macro in calls.items())
    externs = "".join(f"extern const ft_entry {n}[];\n" for row in names for n in row)
    rows = "".join(f'    {{"{level}", {{{", ".join(row)}}}}},\n'
                   for level, row in zip(levels, names, strict=True))
    return ("/* Generated by functrans/kernels/codegen.py. */\n#include \"abi.h\"\n\n" + externs
            + f"\n#define FT_PARTS {len(PARTS)}\n#define FT_LEVELS {len(levels)}\n"
              f'#define FT_TABLE_HASH "{table_hash()}"\n'
              "typedef struct { const char *name; const ft_entry *parts[FT_PARTS]; } ft_level;\n"
              f"static const ft_level ft_levels[] = {{\n{rows}}};\n"
              f'static const char ft_scalar_names[] = "{" ".join(names_of_vm)}";\n'
              f"#define FT_SCALAR_OPS {len(names_of_vm)}\n"
              f'static const char ft_special_names[] = "{specials}";\n'
              f"#define FT_SPECIALS {len(calls)}\n#define FT_SPECIAL_PART {PARTS.index('special')}\n")


def write_sources(directory: Path, levels: list[str]) -> list[Path]:
    """Writes what changed; returns the sources to compile once per level."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = [*elementwise_parts(), *joined_parts(), convert_part(), reduce_part(), other_part(), index_part(),
             scalar_part(), product_part(), sort_part(), random_part(), fourier_part(), statistics_part()]
    files = {f"ft_{part.name}.c": part.source() for part in parts}
    files["ft_levels.h"] = levels_header(levels)
    for name, text in files.items():
        path = directory / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return [directory / f"ft_{name}.c" for name in PARTS]
