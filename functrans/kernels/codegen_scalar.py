"""Writes the interpreter of scalar programs: one operation per row of the op table, a few that join two
rows, and runs of one operation (same bits, one dispatch).
"""

from __future__ import annotations

from typing import Any

# Functions of more than a few instructions are called: inlined, they would make the compiler keep
# the interpreter's own variables in memory.
_FUSED = {"muladd": "z + x * y", "mulsub": "x * y - z", "submul": "z - x * y",
          "mul3": "(x * y) * z", "add3": "(x + y) + z",
          **{name: text.replace("w", "(((x == 0) | (y == 0)) ? (T)0 : x * y)") for name, text in {
              "zmuladd": "z + w", "zmulsub": "w - z", "zsubmul": "z - w", "zmul3": "w * z"}.items()}}
# Operations that also run several instructions at a time, one after the other: on the elements of a small
# array most programs do the same.
_RUNS = ("add", "sub", "mul", "zmul", "div", "neg", "select", "max", "mad", "load", "store", *_FUSED)
RUN_LENGTHS = (2, 3, 4)


def _read(code: str, register: str) -> str:
    if code in ("f32", "f64"):
        return f"r[ip->{register}].{code}"
    return f"(T{register})r[ip->{register}].i64"


def _store(code: str, text: str) -> str:
    if code in ("f32", "f64"):
        return f"r[ip->d].{code} = {text};"
    return f"r[ip->d].i64 = (int64_t)({text});"


class Writer:
    def __init__(self, codegen: Any):
        self.c_type, self.size = codegen.C_TYPE, codegen.SIZE
        self.names: list[str] = []
        self.code: list[str] = []
        self.bodies: dict[str, str] = {}
        self.functions: list[str] = []

    def plain(self, name: str, body: str) -> None:
        self.code.append(f"    CASE({len(self.names)}) {{ {body} }}\n")
        self.names.append(name)
        self.bodies[name] = body

    def runs(self, name: str) -> None:
        """The same of several instructions in a row, as ``name*2`` ..."""
        body = self.bodies[name].removesuffix("NEXT;")
        for n in RUN_LENGTHS:
            text = " ".join(["{ " + body.replace("ip->", f"ip[{i}].") + "}" for i in range(n)])
            self.plain(f"{name}*{n}", f"{text} SKIP({n});")

    def operation(self, name: str, codes: list[str], out: str, text: str, main: str,
                  called: bool, power: bool = False, unsigned: str = "uint64_t") -> None:
        """Reads x, y, z from registers a, b, c and writes ``text`` to d."""
        head = f"typedef {self.c_type[main]} T; typedef {self.c_type[out]} U; " \
               f"typedef {unsigned} ft_unsigned; "
        tail = "(void)sizeof(ft_unsigned); (void)sizeof(T); (void)sizeof(U);"
        types = [self.c_type[c] for c in codes]
        loads = "".join(f"typedef {t} T{reg}; const {t} {v} = {_read(c, reg)}; (void)sizeof(T{reg}); "
                        for t, c, v, reg in zip(types, codes, "xyz", "abc", strict=False))
        if power:
            loads += "const int64_t k = ip->imm; "
        if called:
            function = f"vm_{name.replace(':', '_')}"
            args = [f"{t} {v}" for t, v in zip(types, "xyz", strict=False)]
            names = list("xyz"[:len(types)])
            if power:
                args.append("int64_t k")
                names.append("k")
            self.functions.append(
                f"static __attribute__((noinline)) {self.c_type[out]} {function}"
                f"({', '.join(args)})\n{{\n    {head}{tail}\n    return (U)({text});\n}}\n")
            text = f"{function}({', '.join(names)})"
        else:
            text = f"(U)({text})"
        self.plain(name, f"{head}{loads}{_store(out, text)} {tail} NEXT;")


def _table(w: Writer, codegen: Any) -> None:
    by_name = {op.name: op for op in codegen.records()}
    for name, code, out, text in codegen.table():
        if name == "stop_gradient" or code not in codegen.REALS or out not in codegen.REALS:
            continue
        op = by_name[name]
        if op.arity > 3:                      # more than an instruction names
            continue
        codes = [code] * op.arity
        if name == "select":
            codes[0] = "b1"
        rest = text
        for cheap in codegen.CHEAP_CALLS + ("ft_sqrt",):
            rest = rest.replace(cheap, "")
        w.operation(f"{name}:{code}", codes, out, text, code, "ft_" in rest,
                    bool(op.param_names), codegen._unsigned(code))
    for source in codegen.REALS:
        for target in codegen.REALS:
            if source != target:
                text = codegen.convert_text(source, target)
                w.operation(f"convert:{source}:{target}", [source], target, text, source, False)


def _own(w: Writer, codegen: Any) -> None:
    for code in codegen.REALS:
        t = w.c_type[code]
        mad = "c | (a & b)" if code == "b1" else "c + a * b"
        mad = f"FT_MAD_{code}(x, y, z)" if code in codegen.FLOATS \
            else mad.replace("a", "x").replace("b", "y").replace("c", "z")
        w.operation(f"mad:{code}", [code] * 3, code, mad, code, False)
        w.plain(f"load:{code}", f"{t} v = *(const {t} *)(ptr[ip->a] + ip->imm); "
                                f"{_store(code, 'v')} NEXT;")
        value = f"r[ip->d].{code}" if code in codegen.FLOATS else f"({t})r[ip->d].i64"
        w.plain(f"store:{code}", f"*({t} *)(ptr[ip->a] + ip->imm) = {value}; NEXT;")
    for code in codegen.FLOATS:
        for name, text in _FUSED.items():
            w.operation(f"{name}:{code}", [code] * 3, code, text, code, False)
    w.plain("move:4", "r[ip->d].f32 = r[ip->a].f32; NEXT;")
    w.plain("move:8", "r[ip->d].i64 = r[ip->a].i64; NEXT;")
    w.plain("ret", "return FT_VM_DONE;")
    w.plain("unless", "if (!r[ip->d].i64) return FT_VM_END; NEXT;")
    w.plain("turn", "for (int64_t i = 0; i < nmoving; i++) moving[i] += by[i]; "
                    "ip += ip->imm; "
                    "if (--left == 0) { vm->ip = ip; return FT_VM_TURNS; } "
                    "JUMP;")


def source(codegen: Any) -> tuple[str, list[str]]:
    """The C text, and the names of the operations in the order of their numbers."""
    w = Writer(codegen)
    _table(w, codegen)
    _own(w, codegen)
    for code in codegen.FLOATS:
        for name in _RUNS:
            w.runs(f"{name}:{code}")
    n = len(w.names)
    labels = ", ".join(f"&&label_{i}" for i in range(n))
    return ("".join(w.functions) + f"""
#ifdef __GNUC__
#define CASE(n) label_##n:
#define JUMP goto *(const void *)ip->label
#else
#define CASE(n) case n:
#define JUMP break
#endif
#define SKIP(n) do {{ ip += (n); JUMP; }} while (0)
#define NEXT SKIP(1)

static int vm_run(ft_vm *vm, int64_t *labels)
{{
#ifdef __GNUC__
    static const void *const table[] = {{{labels}}};
    if (labels) {{
        for (int i = 0; i < {n}; i++)
            labels[i] = (int64_t)table[i];
        return 0;
    }}
#else
    if (labels) {{
        for (int i = 0; i < {n}; i++)
            labels[i] = i;
        return 0;
    }}
#endif
    const ft_ins *ip = vm->ip;
    ft_reg *const r = vm->r;
    char **const ptr = vm->ptr, **const moving = vm->moving;
    const int64_t *const by = vm->by, nmoving = vm->nmoving;
    int64_t left = vm->left;
#ifdef __GNUC__
    JUMP;
#else
#undef SKIP
#define SKIP(n) {{ ip += (n); continue; }}
#undef JUMP
#define JUMP continue
    for (;;) switch (ip->label)
#endif
    {{
{"".join(w.code)}    }}
}}

/* A straight scalar program. ints: number of constants, bytes of the registers; data: the constants,
 * the instructions. Operands: what is stored and loaded, the scratch for registers and pointers. */
static int ft_run_scalar(const ft_step *s, ft_frame *f)
{{
    const int64_t *n = s->ints;
    const int64_t *code = (const int64_t *)s->data;
    const int n_pointers = s->nopnd - 1;
    char *scratch = FT_PTR(s, f, n_pointers);
    ft_vm vm;
    vm.r = (ft_reg *)scratch;
    vm.ptr = vm.moving = (char **)(scratch + n[1]);
    vm.by = 0;
    vm.nmoving = vm.left = 0;
    vm.ip = (const ft_ins *)(code + n[0]);
    for (int64_t i = 0; i < n[0]; i++)
        vm.r[i].i64 = code[i];
    for (int i = 0; i < n_pointers; i++)
        vm.ptr[i] = FT_PTR(s, f, i);
    vm_run(&vm, 0);
    return FT_OK;
}}
""", w.names)
