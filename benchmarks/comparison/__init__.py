"""Comparison of streamlit-sync, streamlit-server-state and streamlit-crdt in a real browser."""
