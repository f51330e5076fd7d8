"""The op records: one op, one record, one place.

In: the families of ``ir.op``. Out: ``OPS``, the table that passes, plans, tests and the kernel
generator read. What must hold: a record is complete (its constructor refuses a missing rule), rules
bind other ops and nothing else, and these modules import without compiled ones.
"""
