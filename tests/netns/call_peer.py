# SPDX-License-Identifier: Apache-2.0
"""A call's two ends, as small as they can be: STUN checks (RFC 8489, RFC 8445) and RTP that is not encrypted.

Their sockets live in namespaces of the site; their threads in the test. Nothing is verified that a forwarder cannot see.
"""
import base64
import contextlib
import hmac
import os
import socket
import struct
import threading
import time
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

COOKIE = 0x2112A442
REQUEST, SUCCESS = 0x0001, 0x0101
USERNAME, PRIORITY, USE_CANDIDATE, XOR_MAPPED, FINGERPRINT, CONTROLLING = 0x0006, 0x0024, 0x0025, 0x0020, 0x8028, 0x802A


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun(kind, transaction, *attributes):
    """With FINGERPRINT."""
    body = b"".join(attributes)
    message = struct.pack("!HHI", kind, len(body) + 8, COOKIE) + transaction + body
    return message + attribute(FINGERPRINT, struct.pack("!I", zlib.crc32(message) ^ 0x5354554E))


def check(user, transaction=None):
    return stun(REQUEST, transaction or os.urandom(12), attribute(USERNAME, user.encode()), attribute(PRIORITY, struct.pack("!I", 1853824767)),
                attribute(CONTROLLING, bytes(8)), attribute(USE_CANDIDATE, b""))


def answer(request, address):
    port = address[1] ^ COOKIE >> 16
    if ":" in address[0]:
        key = struct.pack("!I", COOKIE) + request[8:20]
        ip = bytes(x ^ y for x, y in zip(socket.inet_pton(socket.AF_INET6, address[0]), key))
        return stun(SUCCESS, request[8:20], attribute(XOR_MAPPED, struct.pack("!BBH", 0, 2, port) + ip))
    ip = struct.unpack("!I", socket.inet_aton(address[0]))[0] ^ COOKIE
    return stun(SUCCESS, request[8:20], attribute(XOR_MAPPED, struct.pack("!BBHI", 0, 1, port, ip)))


class Srtp:
    """A client's key of SRTP_AES128_CM_HMAC_SHA1_80 (RFC 3711 sections 4.2 and 4.3)."""

    def __init__(self):
        self.master = os.urandom(30)
        salt = bytearray(self.master[16:] + bytes(2))
        salt[7] ^= 1
        self.authentication = Cipher(algorithms.AES(self.master[:16]), modes.CTR(bytes(salt))).encryptor().update(bytes(20))

    def line(self):
        """As `selvage session add --srtp-key-file` reads it."""
        return f"SRTP_AES128_CM_HMAC_SHA1_80 {base64.b64encode(self.master).decode()}\n"

    def protect(self, packet, counter=0):
        return packet + hmac.digest(self.authentication, packet + struct.pack("!I", counter), "sha1")[:10]


def is_stun(data):
    return len(data) >= 20 and data[0] < 4 and struct.unpack_from("!I", data, 4)[0] == COOKIE


class Peer(threading.Thread):
    def __init__(self, namespace, local, family=socket.AF_INET):
        super().__init__(daemon=True)
        self.socket = namespace.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((local, 0) if isinstance(local, str) else local)
        self.socket.settimeout(0.02)
        self.ended = False

    def close(self):
        self.ended = True
        self.join(5)
        self.socket.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()


class Agent(Peer):
    """Answers checks, and sends RTP back under an SSRC of its own for each client; asks its clients every half a second."""

    def __init__(self, namespace, address, port):
        super().__init__(namespace, (address, port), socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.echo, self.clients = True, {}
        self.users = set()

    def run(self):
        last = 0
        while not self.ended:
            with contextlib.suppress(OSError):
                data, source = self.socket.recvfrom(2048)
                if not is_stun(data):
                    self.clients[source] = self.clients.get(source, 0) + 1
                    if self.echo:
                        self.socket.sendto(data[:8] + b"AGNT" + data[12:], source)
                elif data[:2] == b"\0\1":
                    self.users.add(data[24:24 + struct.unpack_from("!H", data, 22)[0]].decode())
                    self.clients.setdefault(source, 0)
                    self.socket.sendto(answer(data, source), source)
            if time.monotonic() - last > 0.5:
                last = time.monotonic()
                for client in list(self.clients):
                    with contextlib.suppress(OSError):
                        self.socket.sendto(check("clnt:agnt"), client)


class Caller(Peer):
    """Checks until it is answered, then every half a second, and 50 RTP packets a second."""

    def __init__(self, namespace, local, to, ufrag, family=socket.AF_INET):
        super().__init__(namespace, local, family)
        self.to, self.user = to, f"{ufrag}:clnt"
        self.media, self.skip = True, 0
        self.answered, self.received, self.sent, self.last_sent = 0, 0, 0, 0.0
        self.last_received = self.longest_gap = 0.0
        self.srtp, self.sequence, self.ssrc, self.moved_to = None, 1000, os.urandom(4), None

    def packet(self, sequence):
        head = struct.pack("!BBHI", 0x80, 111, sequence & 0xffff, sequence * 960 & 0xffffffff) + self.ssrc
        return self.srtp.protect(head + bytes(160)) if self.srtp else head + bytes(160)

    def move(self, to):
        """From now on it has this socket, and what comes to the other one is lost."""
        self.moved_to = to

    def run(self):
        asked = sent = 0.0
        while not self.ended:
            if self.moved_to:
                self.socket.close()
                self.socket, self.moved_to = self.moved_to, None
            now = time.monotonic()
            with contextlib.suppress(OSError):
                if now - asked > (0.5 if self.answered else 0.05):
                    asked = now
                    self.socket.sendto(check(self.user), self.to)
                if self.answered and self.media and now - sent >= 0.02:
                    sent = sent + 0.02 if now - sent < 0.1 else now
                    self.sequence += 1 + self.skip
                    self.skip = 0
                    self.socket.sendto(self.packet(self.sequence), self.to)
                    self.sent += 1
                    self.last_sent = time.monotonic()
            self.socket.settimeout(0.005)
            with contextlib.suppress(OSError):
                while True:
                    data, source = self.socket.recvfrom(2048)
                    if not is_stun(data):
                        self.received += 1
                        self.longest_gap = max(self.longest_gap, time.monotonic() - (self.last_received or time.monotonic()))
                        self.last_received = time.monotonic()
                    elif data[:2] == b"\1\1":
                        self.answered += 1
                    elif data[:2] == b"\0\1":
                        self.socket.sendto(answer(data, source), source)
                    self.socket.settimeout(0)
