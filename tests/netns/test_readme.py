# SPDX-License-Identifier: Apache-2.0
"""The five minutes of README.md, pasted into a shell as they are printed: the page cannot go stale.

Only the build directory and the temporary one differ, and the step that builds is left out, as the tests have been built.
"""
import re
import subprocess

import pytest

import edge_site

HEADING, END = "\n## Five minutes by hand\n", "\n## "
PLACES_PRINTED = "BUILD=$PWD/build TRY=$(mktemp -d)\n"
NAMESPACES = ["try-client", "try-node", "try-1", "try-2"]


def blocks():
    """The shell blocks of the section, in order."""
    text = (edge_site.ROOT / "README.md").read_text()
    section = text.split(HEADING)[1].split(END)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)


def tidy(places):
    """What a run that broke off leaves behind, the page's own way; nothing when all is well."""
    subprocess.run(["bash"], input=places + blocks()[-1], text=True, capture_output=True, cwd=edge_site.ROOT)


@pytest.fixture
def output(machine, tmp_path):
    """What each block printed."""
    present = [name for name in edge_site.run("ip", "netns", "list").stdout.split() if name in NAMESPACES]
    if present:
        pytest.skip(f"somebody is trying the page right now: there is a namespace {present[0]}")
    assert blocks()[0].startswith(PLACES_PRINTED)
    places = f"BUILD={edge_site.BUILD} TRY={tmp_path}\n"
    script = "".join(f"{block}echo; echo '=== end of block'\n" for block in blocks())
    script = script.replace(PLACES_PRINTED, places, 1)
    try:
        done = subprocess.run(["bash"], input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              cwd=edge_site.ROOT, timeout=120)
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"the page hangs after:\n{(expired.stdout or b'').decode()}")
    finally:
        tidy(places)
    print(done.stdout)
    return done.stdout.split("=== end of block\n")


def test_readme(output):
    build, start, first, look, explain, drain, kill, clean = output[:8]
    assert not build.strip()
    assert "service/hello created" in start
    assert "1 received" in first
    assert first.count("hello from backend") == 8
    assert "192.0.2.128" in look and "vip_port_closed" in look and look.count("10.77.") >= 2
    assert "2 packets written" in explain and explain.count("=> redirect by lb, service default/hello:80") == 2
    assert drain.count("hello from backend 2") == 8 and "hello from backend 1" not in drain
    assert "hello from backend 1" in kill and "hello from backend 2" in kill and "LOST" not in kill
    assert "adopted the tables" in kill
    assert not clean.strip()
    left = edge_site.run("ip", "netns", "list").stdout.split()
    assert not [name for name in NAMESPACES if name in left]
