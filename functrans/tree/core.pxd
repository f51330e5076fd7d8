from functrans.tree.nodes cimport NodeType


cdef class TreeDef:
    cdef readonly Py_ssize_t num_leaves
    cdef readonly NodeType node
    cdef readonly object aux         # keys of a dict, static data of other nodes
    cdef readonly tuple kids         # TreeDef of each child
    cdef Py_hash_t hash_
    cdef bint flat          # all children are leaves
    cdef list texts         # the paths of the leaves, when they have been asked for
    cdef object __weakref__

    cpdef unflatten(self, leaves)


# The structure of a bare leaf; compare with `is`.
cdef TreeDef leaf_def

# Appends the leaves to `out`.
cdef TreeDef flatten_into(object tree, list out)

cpdef tuple flatten(object tree, object is_leaf=*)
cpdef unflatten(TreeDef treedef, object leaves)
