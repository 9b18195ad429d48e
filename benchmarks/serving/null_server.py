"""Answers every request at once with the same few bytes: what client, kernel and sockets can do at most.

python benchmarks/serving/null_server.py PORT
"""

from __future__ import annotations

import select
import socket
import sys

BODY = b'{"label":"none","stage":1}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


def serve(listener: socket.socket) -> None:
    """Until the process ends: one thread, one epoll."""
    loop = select.epoll()
    loop.register(listener, select.EPOLLIN)
    clients: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for number, _ in loop.poll():
            if number == listener.fileno():
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                loop.register(client, select.EPOLLIN)
                clients[client.fileno()] = client, bytearray()
            else:
                client, got = clients[number]
                try:
                    piece = client.recv(65536)
                    got += piece
                    while _whole(got):
                        client.sendall(_ANSWER)
                except OSError:
                    piece = b""
                if not piece:
                    del clients[number]
                    loop.unregister(number)
                    client.close()


def _whole(got: bytearray) -> bool:
    """Whether one request was complete; it is taken away."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(got[:end]).lower()
    _, named, rest = head.partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0]) if named else 0
    if len(got) < end + 4 + length:
        return False
    del got[: end + 4 + length]
    return True


def main() -> None:
    """Listens on a port of the loopback interface; 0 takes a free one. Prints it."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    serve(listener)


if __name__ == "__main__":
    main()
