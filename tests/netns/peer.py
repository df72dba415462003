#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Servers and clients for tests in namespaces: run one inside a namespace as a process of its own.

    peer.py serve --name NAME [--udp PORT|FIRST-LAST]... [--tcp PORT]...
    peer.py udp-flows --to ADDRESS --port PORT [--port-last PORT] --flows N --interval-ms N
    peer.py tcp-flows --to ADDRESS --port PORT --flows N --interval-ms N
    peer.py http-load --to ADDRESS --port PORT --workers N [--interval-ms N]
    peer.py udp-ping --to ADDRESS --port PORT --count N

A server says who it is in each answer: "pong NAME …" for UDP, a first line NAME for TCP, which then gives lines back.

A client prints "ready", then answers each line "report" on its standard input with one line of JSON, and "stop" (or the end of
its input) with the last one, after waiting for what is still on its way. Times are seconds of CLOCK_MONOTONIC, which all
processes of a machine share, so that a test can set them beside its own.
"""
import argparse
import errno
import http.client
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time

IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50
LATE_S = 1.0  # how long a stopped client waits for the last answers


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def quantiles(values):
    """Microseconds."""
    if not values:
        return {}
    values = sorted(values)
    at = lambda share: round(values[min(len(values) - 1, int(share * len(values)))] * 1e6, 1)
    return {"p50": at(.5), "p90": at(.9), "p99": at(.99), "p999": at(.999), "max": at(1)}


# --- servers -------------------------------------------------------------------------------------------------------------


def udp_socket(port):
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind(("::", port))
    udp.setblocking(False)
    return udp


def udp_answer(udp, name):
    for _ in range(64):
        try:
            data, control, _, client = udp.recvmsg(65536, 256)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error about an earlier answer
            continue
        # The answer comes from the address that was asked: with direct return that is the virtual IP.
        asked = next((value[:16] for level, kind, value in control
                      if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO), bytes(16))
        try:
            udp.sendmsg([b"pong " + name + b" " + data],
                        [(socket.IPPROTO_IPV6, IPV6_PKTINFO, asked + struct.pack("=I", 0))], 0, client)
        except OSError:
            pass


def tcp_socket(port):
    tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    tcp.bind(("::", port))
    tcp.listen(1024)
    tcp.setblocking(False)
    return tcp


def tcp_accept(loop, tcp, name):
    try:
        connection, _ = tcp.accept()
    except OSError:
        return
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(name + b"\n")
        connection.setblocking(False)
        loop.register(connection, selectors.EVENT_READ, lambda: tcp_answer(loop, connection))
    except OSError:  # a health check that hung up
        connection.close()


def tcp_answer(loop, connection):
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(data)
            return
    except BlockingIOError:
        return
    except OSError:
        pass
    loop.unregister(connection)
    connection.close()


def ports(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def serve(options):
    loop, name = selectors.DefaultSelector(), options.name.encode()
    for port in (port for text in options.udp for port in ports(text)):
        udp = udp_socket(port)
        loop.register(udp, selectors.EVENT_READ, lambda udp=udp: udp_answer(udp, name))
    for port in (port for text in options.tcp for port in ports(text)):
        tcp = tcp_socket(port)
        loop.register(tcp, selectors.EVENT_READ, lambda tcp=tcp: tcp_accept(loop, tcp, name))
    print("ready", flush=True)
    while True:
        for key, _ in loop.select():
            key.data()


# --- clients -------------------------------------------------------------------------------------------------------------


class Client:
    """What the clients share: the loop, the questions on standard input, and the end."""

    def __init__(self):
        self.loop = selectors.DefaultSelector()
        self.loop.register(sys.stdin, selectors.EVENT_READ, self.question)
        self.stopping = False
        self.input = b""

    def question(self):
        data = os.read(sys.stdin.fileno(), 4096)
        self.input += data
        while b"\n" in self.input:
            line, self.input = self.input.split(b"\n", 1)
            if line == b"report":
                self.print_report()
            elif line == b"stop":
                self.stopping = True
            else:
                self.command(line.decode())
        if not data:
            self.stopping = True
            self.loop.unregister(sys.stdin)

    def command(self, line):
        raise ValueError(f"no such command: {line}")

    def print_report(self):
        print(json.dumps(self.report()), flush=True)

    def run(self, interval_s):
        print("ready", flush=True)
        next_s = time.monotonic()
        while not self.stopping:
            now = time.monotonic()
            if now >= next_s:
                self.tick(now)
                next_s = max(next_s + interval_s, now - 5 * interval_s)
            for key, _ in self.loop.select(max(0, next_s - time.monotonic())):
                key.data()
        end = time.monotonic() + LATE_S
        while self.waiting() and time.monotonic() < end:
            for key, _ in self.loop.select(0.02):
                key.data()
        self.print_report()


class Flow:
    def __init__(self):
        self.socket = None
        self.sent = self.received = self.again = 0
        self.pending = {}  # sequence number: when it was sent
        self.names = []    # [since when, who answers]
        self.error = None
        self.buffer = b""

    def answered_by(self, name, now):
        if not self.names or self.names[-1][1] != name:
            self.names.append([now, name])

    def answer(self, name, sequence, now, latencies):
        sent_s = self.pending.pop(sequence, None)
        if sent_s is None:
            self.again += 1
            return
        self.received += 1
        latencies.append(now - sent_s)
        self.answered_by(name, now)

    def report(self):
        return {"port": self.socket.getsockname()[1] if self.socket and self.socket.fileno() >= 0 else 0,
                "sent": self.sent, "received": self.received, "again": self.again, "names": self.names,
                "error": self.error, "lost": sorted(self.pending.items())[:1000]}


class UdpFlows(Client):
    """Each flow in turn sends "FLOW SEQUENCE"; every answer is matched by both numbers."""

    def __init__(self, options):
        super().__init__()
        self.flows, self.latencies, self.turn, self.refused = [], [], 0, 0
        span = (options.port_last or options.port) - options.port + 1
        for number in range(options.flows):
            flow = Flow()
            flow.socket = socket.socket(family_of(options.to), socket.SOCK_DGRAM)
            flow.socket.connect((options.to, options.port + number % span))
            flow.socket.setblocking(False)
            self.loop.register(flow.socket, selectors.EVENT_READ, lambda flow=flow: self.receive(flow))
            self.flows.append(flow)
        self.limit = len(self.flows) if options.rounds else sys.maxsize

    def command(self, line):
        if line != "round":
            super().command(line)
        self.limit += len(self.flows)

    def tick(self, now):
        if self.turn >= self.limit:
            return
        number = self.turn % len(self.flows)
        flow = self.flows[number]
        self.turn += 1
        flow.pending[flow.sent] = now
        try:
            flow.socket.send(b"%d %d" % (number, flow.sent))
        except OSError as error:  # ECONNREFUSED tells of an earlier packet
            self.refused += error.errno == errno.ECONNREFUSED
            flow.error = os.strerror(error.errno)
        flow.sent += 1

    def receive(self, flow):
        try:
            words = flow.socket.recv(2048).split()
        except OSError as error:
            self.refused += error.errno == errno.ECONNREFUSED
            return
        flow.answer(words[1].decode(), int(words[3]), time.monotonic(), self.latencies)

    def waiting(self):
        return any(flow.pending for flow in self.flows)

    def report(self):
        return {"sent": sum(flow.sent for flow in self.flows), "received": sum(flow.received for flow in self.flows),
                "again": sum(flow.again for flow in self.flows), "refused": self.refused,
                "latency_us": quantiles(self.latencies), "flows": [flow.report() for flow in self.flows]}


class TcpFlows(Client):
    """Long connections; each in turn sends a line and awaits it back before it sends another."""

    def __init__(self, options):
        super().__init__()
        self.flows, self.latencies, self.turn = [], [], 0
        for _ in range(options.flows):
            flow = Flow()
            self.flows.append(flow)
            try:
                flow.socket = socket.create_connection((options.to, options.port), timeout=5)
                while b"\n" not in flow.buffer:
                    data = flow.socket.recv(256)
                    if not data:
                        raise ConnectionError("closed before it said its name")
                    flow.buffer += data
            except OSError as error:
                flow.error = f"connecting: {error}"
                continue
            name, flow.buffer = flow.buffer.split(b"\n", 1)
            flow.answered_by(name.decode(), time.monotonic())
            flow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flow.socket.setblocking(False)
            self.loop.register(flow.socket, selectors.EVENT_READ, lambda flow=flow: self.receive(flow))

    def fail(self, flow, why):
        flow.error = why
        self.loop.unregister(flow.socket)
        flow.socket.close()

    def tick(self, now):
        flow = self.flows[self.turn % len(self.flows)]
        self.turn += 1
        if flow.error or flow.pending:
            return
        flow.pending[flow.sent] = now
        try:
            flow.socket.send(b"%d\n" % flow.sent)
        except OSError as error:
            self.fail(flow, f"sending: {error}")
        flow.sent += 1

    def receive(self, flow):
        try:
            data = flow.socket.recv(4096)
        except OSError as error:
            self.fail(flow, f"receiving: {error}")
            return
        if not data:
            self.fail(flow, "closed by the server")
            return
        flow.buffer += data
        while b"\n" in flow.buffer:
            line, flow.buffer = flow.buffer.split(b"\n", 1)
            flow.answer(flow.names[-1][1], int(line), time.monotonic(), self.latencies)

    def waiting(self):
        return any(flow.pending and not flow.error for flow in self.flows)

    def report(self):
        return {"sent": sum(flow.sent for flow in self.flows), "received": sum(flow.received for flow in self.flows),
                "failed": sum(flow.error is not None for flow in self.flows), "latency_us": quantiles(self.latencies),
                "flows": [flow.report() for flow in self.flows]}


class HttpLoad(Client):
    """Workers that fetch / again and again, each time on a new connection; the body's first word is who answered."""

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.lock = threading.Lock()
        self.count, self.latencies, self.names, self.failures = 0, [], {}, []
        self.workers = [threading.Thread(target=self.work) for _ in range(options.workers)]

    def fetch(self):
        connection = http.client.HTTPConnection(self.options.to, self.options.port, timeout=5)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise ConnectionError(f"status {answer.status}")
            return body.split()[0].decode()
        finally:
            connection.close()

    def work(self):
        while not self.stopping:
            start, name, failure = time.monotonic(), None, None
            try:
                name = self.fetch()
            except (OSError, http.client.HTTPException, IndexError) as error:
                failure = [time.monotonic(), f"{type(error).__name__}: {error}"]
            with self.lock:
                self.count += 1
                if failure:
                    self.failures.append(failure)
                else:
                    self.latencies.append(time.monotonic() - start)
                    first, _, number = self.names.get(name, (start, None, 0))
                    self.names[name] = (first, start, number + 1)
            if self.options.interval_ms:
                time.sleep(self.options.interval_ms / 1000)

    def run(self, interval_s):
        for worker in self.workers:
            worker.start()
        super().run(interval_s)

    def tick(self, now):
        pass

    def waiting(self):
        for worker in self.workers:
            worker.join()
        return False

    def report(self):
        with self.lock:
            return {"requests": self.count, "failed": len(self.failures), "failures": self.failures[:20],
                    "latency_us": quantiles(self.latencies),
                    "names": {name: {"first": first, "last": last, "requests": number}
                              for name, (first, last, number) in self.names.items()}}


def udp_ping(options):
    """One question after the other: latency without a queue."""
    udp = socket.socket(family_of(options.to), socket.SOCK_DGRAM)
    udp.connect((options.to, options.port))
    udp.settimeout(1)
    latencies, lost = [], 0
    for number in range(options.count):
        start = time.monotonic()
        try:
            udp.send(b"0 %d" % number)
            udp.recv(2048)
            latencies.append(time.monotonic() - start)
        except OSError:
            lost += 1
    print(json.dumps({"count": options.count, "lost": lost, "latency_us": quantiles(latencies)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    server = kinds.add_parser("serve")
    server.add_argument("--name", required=True)
    server.add_argument("--udp", action="append", default=[])
    server.add_argument("--tcp", action="append", default=[])
    for kind in ("udp-flows", "tcp-flows", "http-load", "udp-ping"):
        client = kinds.add_parser(kind)
        client.add_argument("--to", required=True)
        client.add_argument("--port", type=int, required=True)
        client.add_argument("--port-last", type=int, default=0)
        client.add_argument("--flows", type=int, default=1)
        client.add_argument("--interval-ms", type=float, default=0 if kind == "http-load" else 10)
        client.add_argument("--workers", type=int, default=4)
        client.add_argument("--count", type=int, default=1000)
        client.add_argument("--rounds", action="store_true",
                            help="udp-flows: one packet of each flow, and one more for each line \"round\"")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test says when to end
    if options.kind == "serve":
        serve(options)
    elif options.kind == "udp-ping":
        udp_ping(options)
    else:
        client = {"udp-flows": UdpFlows, "tcp-flows": TcpFlows, "http-load": HttpLoad}[options.kind](options)
        client.run((options.interval_ms or 10) / 1000)


main()
