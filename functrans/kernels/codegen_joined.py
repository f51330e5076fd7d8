"""Writes the loops of several elementwise ops that pairs.py names.

Vector code for whole vectors only, in as little code as it takes: there are thousands of these loops. What
remains goes through one plain loop, which is short in blocks.
"""

from __future__ import annotations

import re
from typing import Any

from . import pairs

C_NAMES = str.maketrans({".": "_", ",": "_and_", "'": "_second"})
LATER = 0.4                 # what another op in a loop costs beside one alone
HEAD = """/* Which operands are scalars, as bits; -1 where the others do not lie side by side. */
FT_INLINE int ft_scalars(const int64_t *st, int64_t size, int n)
{
    int found = 0;
    for (int k = 1; k <= n; k++) {
        if (st[k] != 0 && st[k] != size)
            return -1;
        found |= (st[k] == 0) << (k - 1);
    }
    return st[0] == size ? found : -1;
}
"""


def table(gen: Any) -> list[tuple[str, str, str]]:
    """(name, dtype, C expression) of each; t0, t1 ... are results of stages."""
    by_name = {op.name: op for op in gen.records()}
    rows = []
    for name in pairs.names():
        for code in pairs.DTYPES:
            parts = []
            for k, (op, operands) in enumerate(pairs.stages(name)):
                text = "(T)x" if op == "convert" else gen.expression(by_name[op], code)
                place = {v: f"t{o}" if o.isdigit() else o for v, o in zip("xyz", operands, strict=False)}
                text = "".join([place.get(t, t) for t in re.split(r"\b([xyz])\b", text)])
                kind = "int" if op in pairs.COMPARISONS else "T"
                parts.append(f"const {kind} t{k} = {text};")
            rows.append((name, code, f"({{ {' '.join(parts)} t{len(parts) - 1}; }})"))
    return rows


def loop(gen: Any, name: str, text: str, operand: str, n: int, still: list[tuple[int, ...]]) -> str:
    """The ft_loop_fn."""
    lines = [f"static void {name}(char **p, const int64_t *st, int64_t n)\n{{\n"
             f"    typedef {operand} T; typedef {operand} U;\n"
             f"    int64_t i = 0, m = n & -(int64_t)(64 / sizeof(T));\n"
             f"    switch (ft_scalars(st, sizeof(T), {n})) {{\n"]
    for scalars in [(), *still]:
        body = gen.plain_loop([operand] * n, scalars).replace("EXPR", text)
        body = body.replace("int64_t i = 0; i < n", "i = 0; i < m")
        lines.append(f"    case {sum([1 << k for k in scalars])}: {{\n{body}        break;\n    }}\n")
    loads = " ".join([f"const T {v} = *(const T *)(p[{k + 1}] + i * st[{k + 1}]);"
                      for k, v in enumerate(gen.OPERANDS[:n])])
    lines.append(f"    }}\n    for (; i < n; i++) {{ {loads} *(T *)(p[0] + i * st[0]) = {text}; }}\n}}\n")
    return "".join(lines)


def part(gen: Any, code: str) -> Any:
    """The translation unit of one dtype."""
    made = gen.Part(f"joined_{code}")
    by_name = {op.name: op for op in gen.records()}
    made.add(HEAD)
    for name, dtype, text in table(gen):
        if dtype != code:
            continue
        function, n = f"joined_{name.translate(C_NAMES)}", pairs.arity(name)
        made.add(loop(gen, function, text, gen.C_TYPE[code], n, pairs.still(name)))
        ns = [gen.cost(by_name[op], code, "x" if op == "convert" else gen.expression(by_name[op], code))
              for op, _ in pairs.stages(name)]
        whole = max(ns) + LATER * (sum(ns) - max(ns))
        made.entry(f"ew:{name}:{code}", f"ft_run_ew{n + 1}", function, round(whole, 4))
    return made
