"""Entry point of `python -m streamlit_crdt`, which runs the command `streamlit-crdt`."""

import sys

from streamlit_crdt.deploy.cli import main

sys.exit(main())
