cdef enum Kind:
    K_LEAF, K_NONE, K_TUPLE, K_LIST, K_DICT, K_ORDERED, K_DEFAULT, K_NAMED, K_DATA, K_CUSTOM


cdef class NodeType:
    cdef int kind
    cdef readonly object cls
    cdef readonly tuple names        # of the children, for dataclasses and namedtuples
    cdef readonly tuple meta         # fields of a dataclass that are static data
    cdef bint by_init       # rebuild a dataclass by calling its constructor
    cdef bint positional    # ... with the children as positional arguments
    cdef object opener
    cdef object closer


cdef NodeType LEAF_NODE
cdef NodeType DICT_NODE

cdef NodeType node_of(object x)
cdef NodeType class_node(object cls)
cdef tuple open_node(NodeType node, object x)
cdef object close_node(NodeType node, object aux, list items)
cdef list sorted_keys(object x)
