#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""selvage-replay from outside: `replay_test.py PROGRAM VECTORS`. Captures are made of the golden packets."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM, VECTORS = sys.argv[1], sys.argv[2]
MANIFEST = os.path.join(VECTORS, "lan", "manifest.yaml")


def pcap(frames, start=1700000000, link=1):
    data = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link)
    for number, frame in enumerate(frames):
        data += struct.pack("<IIII", start + number // 100, 10 * (number % 100), len(frame), len(frame)) + frame
    return data


def pcap_read(path):
    """(seconds, microseconds, frame) of each packet."""
    with open(path, "rb") as file:
        data = file.read()
    assert struct.unpack_from("<I", data)[0] == 0xa1b2c3d4
    place, packets = 24, []
    while place < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, place)
        packets.append((seconds, micros, data[place + 16:place + 16 + length]))
        place += 16 + length
    return packets


def cases():
    with open(os.path.join(VECTORS, "lan", "cases.json"), encoding="utf-8") as file:
        return json.load(file)["cases"]


def first_steps():
    """The first packet of each golden case that came in by eth0 and whose outcome is one."""
    steps = [case["steps"][0] for case in cases() if "steps" in case and "engines" not in case]
    return [step for step in steps if "interface" not in step and not {"out_by_backend", "entropy"} & step["expect"].keys() and
            step["expect"]["verdict"] != "hold"]


class Replay(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.steps = first_steps()
        self.input = self.write("in.pcap", pcap([bytes.fromhex(step["in"]) for step in self.steps]))
        self.output = os.path.join(self.directory.name, "out.pcap")

    def tearDown(self):
        self.directory.cleanup()

    def write(self, name, data):
        path = os.path.join(self.directory.name, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def run_program(self, *arguments, engine="native", node="edge", source=None):
        return subprocess.run([PROGRAM, "--engine", engine, "--manifest", MANIFEST, "--node", node, "--in", source or self.input,
                               *arguments], capture_output=True, text=True, check=False)

    def assert_refused(self, result, status, text):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertTrue(result.stderr.splitlines()[-1].startswith("selvage-replay: "), result.stderr)
        self.assertEqual(os.path.exists(self.output) or os.path.exists(self.output + ".partial"), False)

    def check_engine(self, engine):
        result = self.run_program("--out", self.output, "--json", "--results", "--repeat", "3", engine=engine)
        self.assertEqual(result.returncode, 0, result.stderr)
        for line in result.stderr.splitlines():  # no library has anything to say
            self.assertTrue(line.startswith("selvage-replay: warning: "), line)
        report = json.loads(result.stdout)
        self.assertEqual((report["engine"], report["packets"]), (engine, len(self.steps)))
        leaving, drops = [], {}
        for index, (step, entry) in enumerate(zip(self.steps, report["results"])):
            expect = step["expect"]
            self.assertEqual(entry, {"index": index, "verdict": expect["verdict"], "function": expect["function"],
                                     "reason": expect["reason"], "backend": expect["backend"]})
            if "out" in expect:
                leaving.append((1700000000 + index // 100, 10 * (index % 100), bytes.fromhex(expect["out"])))
            if expect["reason"]:
                drops[expect["reason"]] = drops.get(expect["reason"], 0) + 1
        self.assertEqual(report["drops"], drops)
        self.assertEqual(sum(report["verdicts"].values()), len(self.steps))
        self.assertEqual(pcap_read(self.output), leaving)
        latency = report["latency_ns"]
        self.assertTrue(0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"])

    def check_fragments(self, engine):
        """Two that come before their first one, and one that never finds it."""
        by_name = {case["name"]: case.get("steps") for case in cases()}
        train, orphan = by_name["fragments, the first one last, IPv4"], by_name["fragments whose first one never comes, IPv6"][0]
        source = self.write("fragments", pcap([bytes.fromhex(step["in"]) for step in [orphan, *train]]))
        result = self.run_program("--out", self.output, "--json", "--results", "--repeat", "3", engine=engine, source=source)
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual([(entry["index"], entry["verdict"], entry["reason"], entry.get("released", False)) for entry in report["results"]],
                         [(0, "hold", None, False), (1, "hold", None, False), (2, "hold", None, False), (3, "redirect", None, False),
                          (1, "redirect", None, True), (2, "redirect", None, True), (0, "drop", "fragment_without_first", True)])
        self.assertEqual((report["packets"], report["verdicts"]["hold"], report["verdicts"]["redirect"], report["drops"]),
                         (4, 3, 3, {"fragment_without_first": 1}))
        self.assertEqual([frame for _, _, frame in pcap_read(self.output)],
                         [bytes.fromhex(each["out"]) for each in [train[2]["expect"], *train[2]["released"]]])

    def test_fragments_native(self):
        self.check_fragments("native")

    @unittest.skipUnless(os.geteuid() == 0, "loading an XDP program needs root")
    def test_fragments_xdp(self):
        self.check_fragments("xdp")

    def test_secrets_of_user_fragments(self):
        """With the secret that encoded fragments were made with, their calls find their agents."""
        directory = os.path.join(VECTORS, "media")
        with open(os.path.join(directory, "cases.json"), encoding="utf-8") as file:
            steps = next(case["steps"] for case in json.load(file)["cases"] if case["name"] == "call with an encoded fragment")
        source = self.write("call", pcap([bytes.fromhex(step["in"]) for step in steps]))
        secret = self.write("secret", b"0 000102030405060708090a0b0c0d0e0f 1763735000123\n")
        other = self.write("other", b"0 000102030405060708090a0b0c0d0e10\n")
        words = [PROGRAM, "--engine", "native", "--node", "edge", "--in", source, "--json", "--results", "--out", self.output, "--manifest",
                 *(os.path.join(directory, name) for name in ("node.yaml", "services.yaml", "agents.yaml"))]
        result = subprocess.run([*words, "--ufrag-secrets", secret], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([entry["backend"] for entry in json.loads(result.stdout)["results"]], [step["expect"]["backend"] for step in steps])
        self.assertEqual([frame.hex() for _, _, frame in pcap_read(self.output)],
                         [step["expect"]["out"] for step in steps if "out" in step["expect"]])
        os.remove(self.output)
        for more in ([], ["--ufrag-secrets", other]):
            result = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
            self.assertEqual(json.loads(result.stdout)["drops"]["rtc_fragment_unknown"], 2, result.stderr)
            os.remove(self.output)
        self.assert_refused(subprocess.run([*words, "--ufrag-secrets", source], capture_output=True, text=True, check=False), 1, "hexadecimal digits")
        self.assert_refused(subprocess.run([*words, "--ufrag-secrets", "/none"], capture_output=True, text=True, check=False), 1, "/none")

    def test_native(self):
        self.check_engine("native")

    @unittest.skipUnless(os.geteuid() == 0, "loading an XDP program needs root")
    def test_xdp(self):
        self.check_engine("xdp")

    def test_dpdk(self):
        self.check_engine("dpdk")

    def test_wrong_calls(self):
        self.assert_refused(self.run_program(engine="fpga"), 2, "there is no engine \"fpga\"")
        self.assert_refused(self.run_program("--repeat", "-1"), 2, "--repeat wants a number")
        self.assert_refused(self.run_program("--fast"), 2, "there is no option --fast")
        result = subprocess.run([PROGRAM], capture_output=True, text=True, check=False)
        self.assert_refused(result, 2, "--engine is missing")

    def test_unknown_names(self):
        self.assert_refused(self.run_program(node="nobody"), 1, "no Node nobody")
        self.assert_refused(self.run_program("--interface", "eth9", "--out", self.output), 1, "no interface eth9")

    def test_bad_captures(self):
        whole = pcap([bytes.fromhex(step["in"]) for step in self.steps])
        partly = pcap([bytes(60)])[:24] + struct.pack("<IIII", 1, 0, 60, 1500) + bytes(60)
        for name, data, text in (("noise", b"noise" * 20, "not a capture file"), ("empty", b"", "not a capture file"),
                                 ("cut", whole[:-1], "truncated"), ("cooked", pcap([bytes(60)], link=113), "link type"),
                                 ("partly", partly, "captured in part")):
            self.assert_refused(self.run_program("--out", self.output, source=self.write(name, data)), 1, text)
        self.assert_refused(self.run_program("--out", self.output, source="/nonexistent"), 1, "No such file")

    def test_an_earlier_output_survives_failure(self):
        with open(self.output, "wb") as file:
            file.write(b"kept")
        self.assertEqual(self.run_program("--out", self.output, source=self.write("cut", pcap([bytes(60)])[:-1])).returncode, 1)
        with open(self.output, "rb") as file:
            self.assertEqual(file.read(), b"kept")

    def test_nothing_is_measured_with_repeat_0(self):
        report = json.loads(self.run_program("--json", "--repeat", "0").stdout)
        self.assertIsNone(report["latency_ns"])
        self.assertNotIn("results", report)

    def test_standard_input(self):
        with open(self.input, "rb") as file:
            result = subprocess.run([PROGRAM, "--engine", "native", "--manifest", MANIFEST, "--node", "edge", "--in", "-", "--json"],
                                    stdin=file, capture_output=True, text=True, check=False)
        self.assertEqual(json.loads(result.stdout)["packets"], len(self.steps), result.stderr)

    def test_text(self):
        result = self.run_program("--results")
        self.assertIn("vip_not_owned: The virtual IP is announced by another node", result.stdout)
        self.assertIn(f"engine native, {len(self.steps)} packets", result.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
