"""A job without Streamlit that reports to `progress.py`: python examples/job.py [--server ws://…] [--room import]"""

import argparse
import random

from streamlit_crdt import connect

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "--server", help="ws://host:port of the room server, ws://host:port/crdt if an app mounts it"
)
parser.add_argument("--room", default="import")
parser.add_argument("--files", type=int, default=100)
parser.add_argument("--pause-s", type=float, default=0.2, help="seconds of work on each file")
options = parser.parse_args()

with connect(options.room, server=options.server, user="import") as room:
    room.state["total"] = options.files
    room.state["done"] = 0
    room.list("rows").clear()
    for number in range(options.files):
        room.wait(options.pause_s)  # a real job would work here
        room.list("rows").append(random.randint(50, 150))
        room.state["done"] = number + 1
        if room.state.get("stop"):
            break
    room.broadcast("finished", sum(room.list("rows")))
print(f"imported {number + 1} files")
