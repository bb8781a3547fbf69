"""`python -m streamlit_crdt` is the same as the command `streamlit-crdt`."""

import sys

from streamlit_crdt.cli import main

sys.exit(main())
