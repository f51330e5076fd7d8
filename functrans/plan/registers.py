"""From the values of ``scalar.Elements`` to instructions for the interpreter, in registers.

Registers are given out in one pass over the instructions, each for as long as its value is used.
Constants lie in the first registers, put there before a program starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..kernels.lib import scalar_labels
from .scalar import NS_CALLED, Elements

MOST = 65535                                # registers, and pointers
FOREVER = 2**62
_LABELS = scalar_labels()
# Two operations of which the first is used once become one: (outer, inner) -> joined operation, for
# the inner one as first and as second operand. Both results are rounded, so no bit changes.
_JOINED = {(outer, inner): pair for outer, inner, pair in [
    ("add", "mul", ("muladd", "muladd")), ("sub", "mul", ("mulsub", "submul")),
    ("mul", "mul", ("mul3", "mul3")), ("add", "add", ("add3", "add3"))]}
_CHEAP = frozenset([
    "add", "sub", "mul", "neg", "div", "zmul", "abs", "select", "load", "store", "move", "mad", "muladd",
    "mulsub", "submul", "mul3", "add3", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not",
    "max", "min", "sqrt", "convert", "isnan", "sign", "turn", "unless", "ret"])

_NS = {op: 1.0 if op.partition(":")[0] in _CHEAP else NS_CALLED for op in _LABELS}

Store = tuple[int, int, int]                # value, pointer, byte offset


class TooLarge(Exception):
    """The program has more registers or pointers than an instruction can name."""


class Code:
    """Instructions, two numbers each, and what has to be known to run them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ns = 0.0

    def __len__(self) -> int:
        return len(self.numbers) // 2

    def add(self, op: str, d: int = 0, a: int = 0, b: int = 0, c: int = 0) -> None:
        if d > MOST or a > MOST or b > MOST or c > MOST:
            raise TooLarge
        if c >= 32768:
            c -= 65536
        self.numbers += (_LABELS[op], d | a << 16 | b << 32 | c << 48)
        self.ns += _NS[op]

    def add_imm(self, op: str, d: int, a: int, imm: int) -> None:
        if d > MOST or a > MOST:
            raise TooLarge
        self.numbers += (_LABELS[op], d | a << 16 | imm << 32)
        self.ns += _NS[op]


class Writer:
    """Chooses what is computed, joins operations, gives out registers."""

    def __init__(self, b: Elements, roots: Sequence[int]):
        self.b, self.code = b, Code()
        self.op, self.args = list(b.op), list(b.args)
        self.computed = computed = [op not in ("const", "carry") and not op.startswith("load:")
                                    for op in b.op]
        self.need = need = bytearray(len(b.op))
        self.uses = uses = [0] * len(b.op)
        for r in roots:
            need[r] = 1
            uses[r] += 1
        for i in range(len(b.op) - 1, -1, -1):
            if need[i] and computed[i]:
                for a in b.args[i]:
                    need[a] = 1
                    uses[a] += 1
        self.home: list[int] = [-1] * len(b.op)          # register of each value that has one
        self.last: list[int] = [-1] * len(b.op)          # position of its last use
        self.free: list[int] = []
        self.constants: list[int] = []
        for i in range(len(b.op)):
            if need[i] and b.op[i] == "const":
                self.home[i] = len(self.constants)
                self.last[i] = FOREVER
                self.constants.append(b.imm[i])
        self.count = len(self.constants)                 # of registers
        self.position = 0

    def join(self, same: Sequence[int] | None = None) -> None:
        """Joins operations; ``same`` says in which part of the program each value is computed."""
        op, args, uses = self.op, self.args, self.uses
        for i in range(len(op)):
            if not self.need[i]:
                continue
            name, _, code = op[i].partition(":")
            if name not in ("add", "sub", "mul") or code not in ("f32", "f64"):
                continue
            x, y = args[i]
            for side, (p, q) in enumerate(((x, y), (y, x))):
                inner = op[p]
                if uses[p] != 1 or not inner.endswith(code) or not self.computed[p]:
                    continue
                pair = _JOINED.get((name, inner[:-4]))
                if pair is None or (same is not None and same[p] != same[i]):
                    continue
                op[i] = f"{pair[side]}:{code}"
                args[i] = (*args[p], q)
                self.need[p] = 0
                break

    # ----- registers -----------------------------------------------------------------------

    def register(self) -> int:
        if self.free:
            return self.free.pop()
        self.count += 1
        return self.count - 1

    def release(self, value: int) -> None:
        if self.last[value] <= self.position and self.home[value] not in self.pinned:
            self.free.append(self.home[value])

    pinned: frozenset[int] = frozenset()

    def scheduled(self, values: Sequence[int], placed: bytearray) -> list[int]:
        """The computed ones among ``values``, in order, each load just before its first use."""
        order = []
        need, computed, args, op = self.need, self.computed, self.args, self.op
        for i in values:
            if not need[i] or not computed[i]:
                continue
            for a in args[i]:
                if not placed[a] and op[a].startswith("load:"):
                    placed[a] = 1
                    order.append(a)
            placed[i] = 1
            order.append(i)
        return order

    def reckon(self, order: Sequence[int], start: int) -> None:
        """Notes last uses; position ``start + k`` is that of ``order[k]``."""
        last, args, computed = self.last, self.args, self.computed
        for k, i in enumerate(order, start):
            if last[i] < k:
                last[i] = k
            if computed[i]:
                for a in args[i]:
                    if last[a] < k:
                        last[a] = k

    def write(self, i: int, wish: int = -1) -> None:
        """The instruction that makes value i, in register ``wish`` if that is given."""
        op, args, home, code = self.op[i], self.args[i], self.home, self.code
        if op.startswith("load:"):
            home[i] = d = wish if wish >= 0 else self.register()
            code.add_imm(op, d, args[0], self.b.imm[i])
            return
        registers = [home[a] for a in args]
        last, now = self.last, self.position
        for k, a in enumerate(args):
            if last[a] <= now and a not in args[:k]:
                self.release(a)
        home[i] = d = wish if wish >= 0 else self.register()
        if op.startswith("integer_pow:"):
            code.add_imm(op, d, registers[0], self.b.imm[i])
        else:
            code.add(op, d, *registers)

    def store(self, value: int, pointer: int, offset: int) -> None:
        self.code.add_imm("store:" + self.b.code[value], self.home[value], pointer, offset)

    def moves(self, wanted: Sequence[tuple[int, int, str]]) -> None:
        """Moves (to, from, dtype code) that happen at once, whatever registers they share."""
        todo = {d: (s, c) for d, s, c in wanted if d != s}
        readers: dict[int, int] = {}
        for s, _ in todo.values():
            readers[s] = readers.get(s, 0) + 1
        ready = [d for d in todo if d not in readers]
        while todo:
            if not ready:                               # a cycle: one value steps aside
                d = next(iter(todo))
                spare = self.register()
                self._move(spare, d, "f64")
                for e, (s, c) in todo.items():
                    if s == d:
                        todo[e] = (spare, c)
                readers[spare] = readers.pop(d)
                ready.append(d)
            d = ready.pop()
            s, c = todo.pop(d)
            self._move(d, s, c)
            readers[s] -= 1
            if not readers[s]:
                del readers[s]
                if s in todo:
                    ready.append(s)

    def _move(self, d: int, s: int, code: str) -> None:
        self.code.add("move:4" if code == "f32" else "move:8", d, s)


def straight(b: Elements, stores: Sequence[Store]) -> tuple[list[int], int, float]:
    """A program that runs through once: (ints of its step, registers, estimated ns)."""
    w = Writer(b, [s[0] for s in stores])
    w.join()
    placed = bytearray(len(b.op))
    order = w.scheduled(range(len(b.op)), placed)
    order += [i for i in dict.fromkeys(s[0] for s in stores)
              if not placed[i] and b.op[i].startswith("load:")]
    w.reckon(order, 0)
    where: dict[int, list[Store]] = {}
    for s in stores:
        where.setdefault(s[0], []).append(s)
    for value in list(where):
        if b.op[value] == "const":
            for s in where.pop(value):
                w.store(*s)
    for w.position, i in enumerate(order):
        w.write(i)
        for s in where.get(i, ()):
            w.store(*s)
        if w.last[i] <= w.position:                     # nothing but stores read it
            w.release(i)
    w.code.add("ret")
    ints = [len(w.constants), 8 * w.count, *w.constants, *w.code.numbers]
    return ints, w.count, w.code.ns


class Loop:
    """A loop's program: code before it, of one turn, and after it, one behind the other.

    ``carries`` are the values that a turn begins with, ``starts`` where they come from (values),
    ``nexts`` what they become, ``ends`` where they are stored at last (pointer, byte offsets).
    ``test`` is a value that ends the loop before a turn when it is false, made by the first
    ``n_test`` values.
    """

    def __init__(self, b: Elements, carries: Sequence[int], starts: Sequence[int],
                 nexts: Sequence[int], ends: Sequence[tuple[int, int]], stores: Sequence[Store],
                 moving: set[int], test: int | None = None, n_test: int = 0):
        roots = [*starts, *nexts, *[s[0] for s in stores], *carries]
        w = self.w = Writer(b, roots if test is None else [*roots, test])
        n = len(b.op)
        inside = bytearray(n)                           # computed anew every turn
        for i in range(n):
            op = b.op[i]
            if op == "carry":
                inside[i] = 1
            elif op.startswith("load:"):
                inside[i] = b.args[i][0] in moving
            elif op != "const":
                inside[i] = any([inside[a] for a in b.args[i]])
        w.join(inside)
        for i in range(n):                              # what a turn reads of outside stays
            if w.need[i] and inside[i] and w.computed[i]:
                for a in w.args[i]:
                    if not inside[a]:
                        w.last[a] = FOREVER
        for i in [*nexts, *[s[0] for s in stores], *([] if test is None else [test])]:
            if not inside[i]:
                w.last[i] = FOREVER
        self._before(inside, carries, starts)
        w.code.add("ret")
        self.body_at = len(w.code)
        before = w.code.ns
        self._turn(inside, carries, nexts, stores, test, n_test)
        self.turn_ns = w.code.ns - before
        self.end_at = len(w.code)
        for c, (pointer, offset) in zip(carries, ends, strict=True):
            w.store(c, pointer, offset)
        w.code.add("ret")

    def _before(self, inside: bytearray, carries: Sequence[int], starts: Sequence[int]) -> None:
        w, b = self.w, self.w.b
        placed = bytearray(inside)
        outside = [i for i in range(len(b.op)) if not inside[i]]
        order = w.scheduled(outside, placed)
        direct: dict[int, int] = {}                     # loads straight into a carry's register
        for c, s in zip(carries, starts, strict=True):
            w.home[c] = w.register()
            if b.op[s].startswith("load:") and not placed[s] and w.last[s] < FOREVER \
                    and s not in direct:
                direct[s] = c
        order += [i for i in outside if w.need[i] and b.op[i].startswith("load:") and not placed[i]
                  and i not in direct]
        w.pinned = frozenset([w.home[c] for c in carries])
        w.reckon(order, 0)
        end = len(order)
        for s in starts:
            if s not in direct:
                w.last[s] = max(w.last[s], end)
        for w.position, i in enumerate(order):
            w.write(i)
            if w.last[i] <= w.position:
                w.release(i)
        w.position = end
        moves = []
        late = []
        for c, s in zip(carries, starts, strict=True):
            if s in direct:
                if direct[s] == c:
                    late.append((s, w.home[c]))
                else:
                    moves.append((w.home[c], w.home[direct[s]], b.code[c]))
            else:
                moves.append((w.home[c], w.home[s], b.code[c]))
        for s, d in late:
            w.write(s, d)
        w.moves(moves)
        for s in {*starts}:
            if s not in direct and w.last[s] == end:
                w.release(s)

    def _turn(self, inside: bytearray, carries: Sequence[int], nexts: Sequence[int],
              stores: Sequence[Store], test: int | None, n_test: int) -> None:
        w, b = self.w, self.w.b
        placed = bytearray([not x for x in inside])
        tested = w.scheduled([i for i in range(n_test) if inside[i]], placed)
        order = tested + w.scheduled([i for i in range(n_test, len(b.op)) if inside[i]], placed)
        for i in dict.fromkeys([*nexts, *[s[0] for s in stores],
                                *([] if test is None else [test])]):
            if inside[i] and not placed[i] and b.op[i].startswith("load:"):
                placed[i] = 1
                order.append(i)
        start = w.position = w.position + 1
        w.reckon(order, start)
        end = start + len(order)
        if test is not None:
            w.last[test] = max(w.last[test], start + len(tested))
        wishes: dict[int, int] = {}
        for c, v in zip(carries, nexts, strict=True):
            w.last[v] = max(w.last[v], end)
            wishes.setdefault(v, c)
        where: dict[int, list[Store]] = {}
        for s in stores:
            if inside[s[0]] and b.op[s[0]] != "carry":
                where.setdefault(s[0], []).append(s)
            elif test is None:
                w.store(*s)                             # is there as the turn begins
        for w.position, i in enumerate(order, start):
            if test is not None and w.position == start + len(tested):
                w.code.add("unless", w.home[test])
            c = wishes.get(i, -1)
            # the old value of the carry was read for the last time: the new one may take its place
            w.write(i, w.home[c] if c >= 0 and w.last[c] <= w.position else -1)
            for s in where.get(i, ()):
                w.store(*s)
            if w.last[i] <= w.position:
                w.release(i)
        if test is not None and len(tested) == len(order):
            w.code.add("unless", w.home[test])
        w.moves([(w.home[c], w.home[v], b.code[c]) for c, v in zip(carries, nexts, strict=True)])
        w.code.add_imm("turn", 0, 0, self.body_at - len(w.code))
