"""What users add to programs: rules of their own (``custom``, ``custom_maps``), and ``callbacks``."""
