"""A job beside `progress.py`, without Streamlit: python examples/job.py [--server ws://…] [--room import]"""

import argparse
import random

from streamlit_crdt import connect

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "--server", help="ws://host:port of the room server, ws://host:port/crdt if it is in an app"
)
parser.add_argument("--room", default="import")
parser.add_argument("--files", type=int, default=100)
parser.add_argument("--pause-s", type=float, default=0.2, help="how long the work on a file takes")
chosen = parser.parse_args()

with connect(chosen.room, server=chosen.server, user="import") as room:
    room.state["total"] = chosen.files
    room.state["done"] = 0
    room.list("rows").clear()
    for number in range(chosen.files):
        room.wait(chosen.pause_s)  # here the work would be done
        room.list("rows").append(random.randint(50, 150))
        room.state["done"] = number + 1
        if room.state.get("stop"):
            break
    room.broadcast("finished", sum(room.list("rows")))
print(f"imported {number + 1} files")
