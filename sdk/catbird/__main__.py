import sys

from catbird.cli import main

sys.exit(main())
