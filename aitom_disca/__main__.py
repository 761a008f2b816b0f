"""``python -m aitom_disca`` is the command ``aitom-disca``."""

import sys

from aitom_disca.cli import main

if __name__ == "__main__":
    sys.exit(main())
