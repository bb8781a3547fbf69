"""`python -m streamlit_crdt` is the same as the command `streamlit-crdt`."""

import sys

from streamlit_crdt.deploy.cli import main

sys.exit(main())
