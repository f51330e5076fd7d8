"""Graph colouring: which columns of a sparse matrix one directional derivative can serve together.

Greedy, in a chosen order of the vertices. Columns: A. R. Curtis, M. J. D. Powell, J. K. Reid, On the
estimation of sparse Jacobian matrices, 1974, as distance-2 colouring of the bipartite graph. Symmetric
matrices: star and acyclic colouring of the adjacency graph after A. H. Gebremedhin, A. Tarafdar,
F. Manne, A. Pothen, New acyclic and star coloring algorithms with application to computing Hessians, 2007.
"""
cimport numpy as cnp

import numpy as np

cnp.import_array()

ctypedef cnp.int64_t Index

ORDERS = ("natural", "largest_first", "smallest_last")


cdef class Graph:
    """Neighbours of each vertex, in steps of one or two: ``steps`` 2 goes through another vertex set.

    With one step, neighbours of ``v`` are ``ends[start[v]:start[v + 1]]``. With two, these are rows, and
    the neighbours are the columns in these rows (``back``).
    """

    cdef Index[::1] start, ends, back_start, back_ends
    cdef readonly Py_ssize_t size
    cdef bint two

    def __init__(self, start, ends, back_start=None, back_ends=None):
        self.start, self.ends = _indices(start), _indices(ends)
        self.size = len(start) - 1
        self.two = back_start is not None
        if self.two:
            self.back_start, self.back_ends = _indices(back_start), _indices(back_ends)

    cdef Py_ssize_t degree(self, Py_ssize_t v) noexcept:
        """How many neighbours, one that is met through several rows counted that often."""
        cdef Py_ssize_t k, n = 0
        if not self.two:
            return self.start[v + 1] - self.start[v]
        for k in range(self.start[v], self.start[v + 1]):
            n += self.back_start[self.ends[k] + 1] - self.back_start[self.ends[k]] - 1
        return n


cdef Index[::1] _indices(x):
    return np.array(x, np.int64)         # a copy: memoryviews refuse what scipy.sparse made read-only


cdef Index[::1] _order(Graph g, str order):
    """The vertices in the order in which they get their colours."""
    degrees = np.empty(g.size, np.int64)
    cdef Index[::1] degree = degrees
    cdef Py_ssize_t v
    if order == "natural":
        return np.arange(g.size)
    for v in range(g.size):
        degree[v] = g.degree(v)
    if order == "largest_first":
        return np.argsort(-degrees, kind="stable").astype(np.int64)
    return _smallest_last(g, degree)


cdef Index[::1] _smallest_last(Graph g, Index[::1] degree):
    """Vertices of least degree among those that are left go to the end, one after another.

    D. W. Matula, L. L. Beck, Smallest-last ordering and clustering and graph coloring algorithms, 1983.
    Buckets of equal degree are doubly linked lists.
    """
    cdef Py_ssize_t n = g.size, most = 0, v, w, k, j, low = 0, at
    for v in range(n):
        most = max(most, degree[v])
    cdef Index[::1] head = np.full(most + 1, -1, np.int64)
    cdef Index[::1] after = np.full(n, -1, np.int64), before = np.full(n, -1, np.int64)
    cdef Index[::1] out = np.empty(n, np.int64)
    cdef cnp.uint8_t[::1] gone = np.zeros(n, np.uint8)
    for v in range(n - 1, -1, -1):
        _link(head, after, before, v, degree[v])
    for at in range(n - 1, -1, -1):
        while head[low] < 0:
            low += 1
        v = head[low]
        _unlink(head, after, before, v, low)
        gone[v] = 1
        out[at] = v
        for k in range(g.start[v], g.start[v + 1]):
            if not g.two:
                w = g.ends[k]
                if w != v and not gone[w]:
                    _lower(head, after, before, degree, w)
                    low = min(low, degree[w])
                continue
            for j in range(g.back_start[g.ends[k]], g.back_start[g.ends[k] + 1]):
                w = g.back_ends[j]
                if not gone[w]:
                    _lower(head, after, before, degree, w)
                    low = min(low, degree[w])
    return out


cdef void _link(Index[::1] head, Index[::1] after, Index[::1] before, Py_ssize_t v, Py_ssize_t d) noexcept:
    after[v], before[v] = head[d], -1
    if head[d] >= 0:
        before[head[d]] = v
    head[d] = v


cdef void _unlink(Index[::1] head, Index[::1] after, Index[::1] before, Py_ssize_t v,
                  Py_ssize_t d) noexcept:
    if before[v] >= 0:
        after[before[v]] = after[v]
    else:
        head[d] = after[v]
    if after[v] >= 0:
        before[after[v]] = before[v]


cdef void _lower(Index[::1] head, Index[::1] after, Index[::1] before, Index[::1] degree,
                 Py_ssize_t v) noexcept:
    _unlink(head, after, before, v, degree[v])
    degree[v] -= 1
    _link(head, after, before, v, degree[v])


cdef Py_ssize_t _free(Index[::1] forbidden, Py_ssize_t v) noexcept:
    """The first colour that v may have: those with ``forbidden[c] == v`` are taken."""
    cdef Py_ssize_t c = 0
    while forbidden[c] == v:
        c += 1
    return c


def color_columns(start, rows, row_start, columns, str order="smallest_last"):
    """Colours for the columns of a matrix, given by columns and by rows: two in one row differ.

    Returns:
      int64 array: the colour of each column, from 0.
    """
    cdef Graph g = Graph(start, rows, row_start, columns)
    cdef Index[::1] todo = _order(g, order)
    colors = np.full(g.size, -1, np.int64)
    cdef Index[::1] color = colors, forbidden = np.full(g.size + 1, -1, np.int64)
    cdef Py_ssize_t i, j, k, v
    for i in range(g.size):
        v = todo[i]
        for k in range(g.start[v], g.start[v + 1]):
            for j in range(g.back_start[g.ends[k]], g.back_start[g.ends[k] + 1]):
                if color[g.back_ends[j]] >= 0:
                    forbidden[color[g.back_ends[j]]] = v
        color[v] = _free(forbidden, v)
    return colors


def color_star(start, ends, str order="smallest_last"):
    """Colours for a symmetric matrix's columns so that each entry can be read off directly.

    ``start, ends`` are the neighbours (off-diagonal nonzeros, both triangles). Neighbours differ, and every
    path of four vertices has three colours.
    """
    cdef Graph g = Graph(start, ends)
    cdef Index[::1] todo = _order(g, order)
    colors = np.full(g.size, -1, np.int64)
    cdef Index[::1] color = colors, forbidden = np.full(g.size + 1, -1, np.int64)
    cdef Py_ssize_t i, j, k, m, v, w, x
    for i in range(g.size):
        v = todo[i]
        for k in range(g.start[v], g.start[v + 1]):
            w = g.ends[k]
            if color[w] >= 0:
                forbidden[color[w]] = v
            for j in range(g.start[w], g.start[w + 1]):
                x = g.ends[j]
                if x == v or color[x] < 0 or forbidden[color[x]] == v:
                    continue
                if color[w] < 0:
                    forbidden[color[x]] = v
                    continue
                for m in range(g.start[x], g.start[x + 1]):
                    if g.ends[m] != w and color[g.ends[m]] == color[w]:
                        forbidden[color[x]] = v
                        break
        color[v] = _free(forbidden, v)
    return colors


cdef Py_ssize_t _root(Index[::1] parent, Py_ssize_t e) noexcept:
    while parent[e] != e:
        parent[e] = parent[parent[e]]
        e = parent[e]
    return e


def color_acyclic(start, ends, twin, str order="smallest_last"):
    """Colours for a symmetric matrix's columns so that entries follow by substitution; fewer than star.

    Neighbours differ, and every cycle has three colours, so that the edges between two colours form
    trees. ``twin[k]`` is the place of entry k's mirror image.

    Returns:
      (colors, trees): trees[k] is the number of the two-coloured tree of off-diagonal entry k.
    """
    cdef Graph g = Graph(start, ends)
    cdef Index[::1] todo = _order(g, order), mirror = _indices(twin)
    cdef Py_ssize_t n_edges = len(g.ends), n = g.size
    colors = np.full(n, -1, np.int64)
    cdef Index[::1] color = colors, forbidden = np.full(n + 1, -1, np.int64)
    cdef Index[::1] parent = np.arange(n_edges)                # of edges, by their lesser number
    cdef Index[::1] seen_by = np.full(n_edges, -1, np.int64), seen_from = np.full(n_edges, -1, np.int64)
    cdef Index[::1] star_of = np.full(n + 1, -1, np.int64), star_edge = np.full(n + 1, -1, np.int64)
    cdef Py_ssize_t i, j, k, v, w, x, r
    for i in range(n):
        v = todo[i]
        for k in range(g.start[v], g.start[v + 1]):
            if color[g.ends[k]] >= 0:
                forbidden[color[g.ends[k]]] = v
        for k in range(g.start[v], g.start[v + 1]):
            w = g.ends[k]
            if color[w] < 0:
                continue
            for j in range(g.start[w], g.start[w + 1]):
                x = g.ends[j]
                if x == v or color[x] < 0 or forbidden[color[x]] == v:
                    continue
                r = _root(parent, min(j, mirror[j]))
                if seen_by[r] != v:
                    seen_by[r], seen_from[r] = v, w
                elif seen_from[r] != w:         # two neighbours of v in one tree: v would close a cycle
                    forbidden[color[x]] = v
        color[v] = _free(forbidden, v)
        for k in range(g.start[v], g.start[v + 1]):
            w = g.ends[k]
            if color[w] < 0:
                continue
            if star_of[color[w]] == v:          # edges from v to one colour belong together
                _unite(parent, star_edge[color[w]], min(k, mirror[k]))
            else:
                star_of[color[w]], star_edge[color[w]] = v, min(k, mirror[k])
            for j in range(g.start[w], g.start[w + 1]):
                x = g.ends[j]
                if x != v and color[x] == color[v]:
                    _unite(parent, min(k, mirror[k]), min(j, mirror[j]))
    trees = np.empty(n_edges, np.int64)
    cdef Index[::1] tree = trees
    for k in range(n_edges):
        tree[k] = _root(parent, min(k, mirror[k]))
    return colors, trees


cdef void _unite(Index[::1] parent, Py_ssize_t a, Py_ssize_t b) noexcept:
    parent[_root(parent, b)] = _root(parent, a)


def substitution(start, ends, twin, trees):
    """The order in which the entries of an acyclic colouring follow from one another.

    In each tree a leaf has one unknown entry; with it known, its neighbour has one less.

    Returns:
      (entry, slot, above): for each edge, leaves first: the place of its entry in the leaf's row, and the
      numbers of the running sums of known entries that leaf and neighbour have in this tree.
    """
    cdef Graph g = Graph(start, ends)
    cdef Index[::1] mirror = _indices(twin), row = np.repeat(np.arange(g.size), np.diff(start))
    # A vertex in a tree is a pair: entries of one row and one tree share a slot.
    _, slots = np.unique(np.stack([np.asarray(row), trees]), axis=1, return_inverse=True)
    slots = slots.astype(np.int64).ravel()
    cdef Index[::1] slot = slots
    order = np.argsort(slots, kind="stable").astype(np.int64)
    cdef Index[::1] members = order
    counts = np.bincount(slots) if len(slots) else np.zeros(0, np.int64)
    cdef Index[::1] left = counts.astype(np.int64)
    cdef Index[::1] begin = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    cdef Py_ssize_t n_edges = len(slots) // 2, n_slots = len(counts), s, k, m, top = 0, at = 0
    cdef Index[::1] entry = np.empty(n_edges, np.int64), low = np.empty(n_edges, np.int64)
    cdef Index[::1] high = np.empty(n_edges, np.int64), stack = np.empty(n_slots + 1, np.int64)
    cdef cnp.uint8_t[::1] known = np.zeros(len(slots), np.uint8)
    for s in range(n_slots):
        if left[s] == 1:
            stack[top] = s
            top += 1
    while top:
        top -= 1
        s = stack[top]
        if left[s] != 1:
            continue                    # its last entry came from the other end
        for m in range(begin[s], begin[s + 1]):
            k = members[m]
            if not known[k]:
                break
        known[k] = known[mirror[k]] = 1
        entry[at], low[at], high[at] = k, s, slot[mirror[k]]
        at += 1
        left[s] -= 1
        left[slot[mirror[k]]] -= 1
        if left[slot[mirror[k]]] == 1:
            stack[top] = slot[mirror[k]]
            top += 1
    return np.asarray(entry), np.asarray(low), np.asarray(high), n_slots


def substitute(double[::1] values, double[::1] data, Index[::1] entry, Index[::1] twin, Index[::1] low,
               Index[::1] high, Py_ssize_t n_slots):
    """Entries of a symmetric matrix from sums of them, along ``substitution``'s order.

    ``values[k]`` is the sum of a leaf's row over one colour, at its entry k; the entries and their mirror
    images are written into ``data``.
    """
    cdef double[::1] known = np.zeros(n_slots)
    cdef Py_ssize_t i, k
    cdef double v
    with nogil:
        for i in range(entry.shape[0]):
            k = entry[i]
            v = values[k] - known[low[i]]
            data[k] = v
            data[twin[k]] = v
            known[high[i]] += v
