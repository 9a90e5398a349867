"""`python -m slowfast`: the same command line as tools/run_net.py, from any directory."""

from slowfast.cli import main

raise SystemExit(main())
