"""Demo app of `streamlit-crdt demo`."""
