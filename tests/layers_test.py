#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the walls of the house (docs/architecture.md, "Who may include whom") and what every file must say.

    tests/layers_test.py [ROOT]      prints FILE:LINE: what is wrong; exit status 1 if anything is

- Includes with quotes are written from the root, name a file, and stay within what their room may know.
- Packet code knows no libc, no kernel header, no other engine's SDK.
- C, Python, shell and meson files name their licence in one of their first two lines; whatever is compiled for BPF may be taken
  under the GPL too, because the kernel's helpers ask for that.
- Headers are read once.
- No file names a place on somebody's machine, or leaves something to be done.
"""
import fnmatch
import os
import re
import subprocess
import sys

FUNCTIONS = ["vip", "lb", "rtc", "dns"]
FREESTANDING = ["stdbool.h", "stddef.h", "stdint.h"]

# What a room may include besides the files of its own folder: patterns of paths from the root; `*` does not cross folders.
# A file belongs to the first room whose pattern it matches.
BASE = ["base/lib/*.h", "base/packet/*.h"]
PACKET_PARTS = ["base/packet/*.h"] + [f"{each}/*_{part}.h" for each in FUNCTIONS for part in ("wire", "state", "fast")]
# Steps of a function at packet time that have a header of their own.
STEPS = ["lb/lb_flow.h", "lb/lb_held.h", "lb/lb_source.h", "lb/lb_limit.h", "lb/lb_quic.h", "rtc/rtc_index.h", "rtc/rtc_stream.h", "rtc/rtc_integrity.h", "rtc/rtc_srtp.h"]


# A function that stands on another one: a media session is a balancer's service's, its agent one of the backends.
BELOW = {"rtc": ["lb"]}


def steps_of(function):
    return [each for each in STEPS if each.startswith(function + "/")]


def packet_headers(function):
    parts = [f"{function}/*_{part}.h" for part in ("wire", "state", "fast")] + steps_of(function)
    return parts + [each for below in BELOW.get(function, []) for each in packet_headers(below)]


FUNCTION_HEADERS = [f"{each}/*.h" for each in FUNCTIONS]
OBJECTS = ["ctrl/manifest/*.h"]
# One end of a call, for the health check that makes one.
MEDIA = ["rtc/media_*.h"]
ROOMS = [
    # pattern of files, what they may include; `own`: the folder's other files
    (["base/packet/*"], [], "own"),
    (["base/lib/*"], ["base/packet/*.h", "base/packet/drops.def"], "own"),
    *[([f"{each}/*_wire.h", f"{each}/*_state.h", f"{each}/*_fast.h"] + steps_of(each),
       ["base/packet/*.h"] + packet_headers(each), None)
      for each in FUNCTIONS],
    *[([f"{each}/*"], BASE + [f"{below}/*.h" for below in BELOW.get(each, [])], "own") for each in FUNCTIONS],
    (["edge/edge_fast.h", "edge/edge_state.h", "edge/edge_event.h"],
     PACKET_PARTS + ["edge/edge_fast.h", "edge/edge_state.h", "edge/edge_event.h"], None),
    (["edge/*"], BASE + FUNCTION_HEADERS, "own"),
    (["ebpf/*.bpf.c", "ebpf/edge_*.h"],
     PACKET_PARTS + ["edge/edge_fast.h", "edge/edge_state.h", "edge/edge_event.h", "ebpf/edge_*.h"], None),
    (["ebpf/*"], BASE + PACKET_PARTS + ["edge/*.h", "*.skel.h"], "own"),
    (["dataplane/*"], BASE + PACKET_PARTS + ["edge/*.h"], "own"),
    # ctrl/, from those who know little to the one who knows all
    (["ctrl/*"], BASE + ["dns/dns_config.h"], "own"),
    (["ctrl/store/*"], BASE, "own"),
    (["ctrl/manifest/*"], BASE + ["ctrl/yaml.h"], "own"),
    (["ctrl/health/*", "ctrl/health/checks/*"], BASE + OBJECTS + MEDIA + ["ctrl/health/*.h", "ctrl/health/checks/*.h"], None),
    (["ctrl/health/*", "ctrl/health/checks/*"], BASE + OBJECTS + ["ctrl/health/*.h", "ctrl/health/checks/*.h"], None),
    (["ctrl/session/*"], BASE + FUNCTION_HEADERS, "own"),
    (["ctrl/program/*"], BASE + OBJECTS + FUNCTION_HEADERS + ["edge/*.h", "ebpf/loader.h", "dataplane/control_channel.h",
                                                              "ctrl/health/*.h"], "own"),
    (["ctrl/replay/*"], BASE + OBJECTS + ["edge/*.h", "ebpf/loader.h", "dataplane/engine.h",
                                          "ctrl/program/*.h", "rtc/ufrag.h"], "own"),
    (["ctrl/resolver/*"], BASE + ["ctrl/config.h", "dns/*.h"], "own"),
    (["ctrl/api/*"], BASE + OBJECTS + ["edge/*.h", "ctrl/store/store.h"], "own"),
    (["ctrl/cli/*"], BASE + OBJECTS + ["ctrl/api/*.h"], "own"),
    (["ctrl/daemon/*"], BASE + OBJECTS + FUNCTION_HEADERS + ["edge/*.h", "ctrl/*.h", "ctrl/store/*.h", "ctrl/health/*.h",
                                                             "dataplane/control_channel.h",
                                                             "ctrl/program/*.h", "ctrl/session/*.h", "ctrl/api/api.h", "ctrl/api/registry.h",
                                                             "ctrl/api/openmetrics.h"], "own"),
    (["tests/*"], ["*"], None),
]

# Headers in angle brackets: what a room must not have. (None: nothing but freestanding headers.)
SYSTEM = [
    (["base/packet/*", "*_wire.h", "*_state.h", "*_fast.h", *STEPS, "edge/edge_event.h"], None),
    (["ebpf/*"], r"rte_"),
    (["dataplane/*"], r"bpf/"),
    (["tests/perf/dpdk_bench.c", "tests/perf/dpdk_wire_bench.c"], r"bpf/"),
    (["ctrl/replay/engine_xdp.c", "tests/*"], r"rte_"),
    (["*"], r"rte_|bpf/"),
]

DUAL = "SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0"
SINGLE = "SPDX-License-Identifier: Apache-2.0"
# Written in parts, so that this file does not name them.
PLACES = re.compile(r"(?<![\w.])/(?:wo" r"rk|ho" r"me|ro" r"ot)/")
UNDONE = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


class House:
    def __init__(self, root):
        self.root, self.complaints = root, []
        self.files = self.list_files()
        self.texts = {}

    def list_files(self):
        listed = subprocess.run(["git", "-C", self.root, "ls-files", "-z"], capture_output=True, text=True)
        if listed.returncode == 0 and listed.stdout:
            names = listed.stdout.split("\0")
        else:  # an unpacked archive
            names = []
            for folder, folders, files in os.walk(self.root):
                folders[:] = [each for each in folders if not each.startswith("build") and each not in (".git", "__pycache__")]
                names += [os.path.relpath(os.path.join(folder, each), self.root) for each in files]
        return sorted(each for each in names if each and os.path.isfile(os.path.join(self.root, each)))

    def lines(self, name):
        if name not in self.texts:
            with open(os.path.join(self.root, name), encoding="utf-8", errors="replace") as file:
                self.texts[name] = file.read().splitlines()
        return self.texts[name]

    def complain(self, name, line, text):
        self.complaints.append(f"{name}:{line}: {text}")

    def includes(self, name):
        """(line, path from the root or None, system header or None)"""
        for number, line in enumerate(self.lines(name), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1), match.group(2)


def matches(name, patterns):
    """fnmatch, but `*` stays within a folder, except in a pattern that begins with it or in tests/."""
    for pattern in patterns:
        if not fnmatch.fnmatchcase(name, pattern):
            continue
        if pattern.startswith(("*", "tests/")) or name.count("/") == pattern.count("/"):
            return True
    return False


def is_code(name):
    return name.endswith((".c", ".h"))


def is_test(name):
    return name.endswith(("_test.c", "_fixture.h", "test_support.h"))


def check_room(house, name):
    room = next((each for each in ROOMS if matches(name, each[0])), None)
    if room is None:
        house.complain(name, 1, "belongs to no room: give its folder a line in tests/layers_test.py and docs/architecture.md")
        return
    _, allowed, own = room
    if own:
        allowed = allowed + [os.path.dirname(name) + "/*"]
    if is_test(name):  # control's tests stand on real neighbours where those are quick
        allowed = allowed + [os.path.dirname(name) + "/*"] + (
            ["ctrl/*/*.h", "edge/*.h"] + FUNCTION_HEADERS if name.startswith("ctrl/") else [])
    for number, path, _ in house.includes(name):
        if path is None:
            continue
        if not path.endswith(".skel.h") and path not in house.files:
            house.complain(name, number, f'"{path}" is no file; includes are written from the root')
        elif not matches(path, allowed):
            house.complain(name, number, f'{os.path.dirname(name)}/ may not include "{path}"')


def check_system(house, name):
    forbidden = next(each[1] for each in SYSTEM if matches(name, each[0]))
    for number, _, system in house.includes(name):
        if system is None:
            continue
        if forbidden is None and system not in FREESTANDING:
            house.complain(name, number, f"packet code may not include <{system}>")
        elif forbidden and re.match(forbidden, system):
            house.complain(name, number, f"<{system}> belongs to another engine")


def in_bpf(house):
    """Every file that is compiled for BPF."""
    todo, found = [each for each in house.files if each.endswith(".bpf.c")], set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo += [path for _, path, _ in house.includes(name) if path in house.files]
    return found


def check_licence(house, name, bpf):
    first = house.lines(name)[:2]
    wanted = DUAL if name in bpf or matches(name, PACKET_PARTS + ["base/packet/*.def"]) else SINGLE
    if not any(wanted in line for line in first):
        house.complain(name, 1, f"wants a line `{wanted}` at its top")


def names_licence(house, name):
    if name.endswith((".c", ".h", ".py", ".def", "meson.build", "meson_options.txt")):
        return True
    lines = house.lines(name)
    return bool(lines) and re.match(r"#!.*\b(sh|bash|python3)\b", lines[0]) is not None


def check_text(house, name):
    for number, line in enumerate(house.lines(name), 1):
        if PLACES.search(line):
            house.complain(name, number, "names a place on somebody's machine")
        if UNDONE.search(line):
            house.complain(name, number, "leaves something to be done")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    house = House(root)
    bpf = in_bpf(house)
    for name in house.files:
        if name.startswith("tests/fuzz/corpus/"):
            continue
        if is_code(name):
            check_room(house, name)
            check_system(house, name)
        if name.endswith(".h") and "#pragma once" not in house.lines(name):
            house.complain(name, 1, "a header wants `#pragma once`")
        if names_licence(house, name):
            check_licence(house, name, bpf)
        check_text(house, name)
    print("\n".join(house.complaints) or f"{len(house.files)} files keep to their rooms")
    return 1 if house.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
