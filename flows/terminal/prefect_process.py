"""Prefect's temporary server as a process: run as a file, with the number of a bound socket and a pipe as input.

It ends when the pipe closes: when the command that started it ends, however that ends.
"""

from __future__ import annotations

import os
import socket
import sys
import threading


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(0)  # what Prefect keeps is in SQLite, which a kill cannot harm


def main() -> None:
    """Serve on the socket until the pipe closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    listening = socket.socket(fileno=int(sys.argv[1]))
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listening])


if __name__ == "__main__":
    main()
