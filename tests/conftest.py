"""Every pass is type-checked while the tests run."""

import os

os.environ["FUNCTRANS_CHECK"] = "1"
