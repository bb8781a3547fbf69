"""The app that `streamlit-crdt demo` opens."""
