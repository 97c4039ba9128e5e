"""A name server for tests that answers every question at once with "no such name", and prints the names.

Run as a program: python -m tests.image.nameserver ADDRESS
"""

import socket
import sys


def answer(question: bytes) -> bytes:
    """NXDOMAIN to a question (RFC 1035 4.1.1): its own id and question, the flags QR, RD, RA and RCODE 3."""
    end = question.index(b"\0", 12) + 5
    return question[:2] + b"\x81\x83" + b"\0\1" + bytes(6) + question[12:end]


def name(question: bytes) -> str:
    """The name that is asked for, without its last dot."""
    labels, rest = [], question[12:]
    while rest[0]:
        labels.append(rest[1 : rest[0] + 1].decode("ascii", errors="replace"))
        rest = rest[rest[0] + 1 :]
    return ".".join(labels)


def main(address: str) -> None:
    """Serves on UDP port 53 of address until it is ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            question, client = server.recvfrom(4096)
            server.sendto(answer(question), client)
            print(name(question), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
