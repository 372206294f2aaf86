"""Started as a package (-m runner) or, as `neap bench` does, as a directory."""

import os
import sys

if not __package__:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from runner.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
