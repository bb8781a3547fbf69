"""Pytest plugin that replaces the classes of pycrdt-websocket by ours before its tests import them."""

import pycrdt.websocket
import pycrdt.websocket.websocket_server
import pycrdt.websocket.yroom

from streamlit_crdt_server import Hub, Room

pycrdt.websocket.WebsocketServer = Hub
pycrdt.websocket.websocket_server.WebsocketServer = Hub
pycrdt.websocket.YRoom = Room
pycrdt.websocket.yroom.YRoom = Room
