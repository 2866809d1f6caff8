"""`python -m steadyread`."""

import sys

from steadyread.cli import main

sys.exit(main())
