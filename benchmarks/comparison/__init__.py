"""What streamlit-sync, streamlit-server-state and streamlit-crdt keep of what two people do, in a real browser."""
