# SPDX-License-Identifier: Apache-2.0
"""A small machine in QEMU: Debian's own kernel, an initial file system of what a test names, one NIC on a tap of a namespace.

The kernel is the one that Debian 12 installs, fetched from its archive and not installed here. QEMU translates (TCG), so that this
works where no hardware virtualization is; times measured in such a machine mean nothing.

A guest is driven over a second serial line, which has nothing to do with the NIC under test.
"""
import base64
import gzip
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import time

from edge_site import BUILD, Failure, end, run, wait_for

KERNEL_PACKAGE = "linux-image-amd64"
MARK = "@@selvage@@"


def kernel_directory():
    """Where the kernel package lies unpacked; fetched when it does not yet."""
    place = pathlib.Path(os.environ.get("SELVAGE_KERNEL", BUILD / "kernel"))
    if not list(place.glob("boot/vmlinuz-*")):
        depends = run("apt-cache", "depends", KERNEL_PACKAGE).stdout
        package = re.search(r"Depends: (linux-image-\d\S*)", depends)
        if not package:
            raise Failure(f"{KERNEL_PACKAGE} depends on no kernel: {depends}")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", package[1], cwd=place, timeout_s=300)
        (file,) = place.glob("*.deb")
        run("dpkg-deb", "-x", file, place, timeout_s=300)
        file.unlink()
        release = next(place.glob("lib/modules/*")).name
        run("depmod", "-b", place, release)
    return place


def libraries(program):
    """The files that the dynamic linker loads for a program; none for a static one and for what is no program."""
    return re.findall(r"(/\S+) \(0x", run("ldd", program, check=False).stdout)


class Image:
    """An initial file system in the making."""

    INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /tmp /var/lib /sys/fs/bpf; ln -s /run /var/run
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mount -t bpf bpf /sys/fs/bpf
export PATH=/usr/bin:/usr/sbin:/bin
ip link set lo up
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1
echo "{MARK} 0"
while read -r line; do
    sh -c "$line" </dev/null >/tmp/answer 2>&1; status=$?
    cat /tmp/answer; echo; echo "{MARK} $status"
done
"""

    def __init__(self, directory):
        self.root = directory / "root"
        self.file = directory / "initrd.gz"
        for name in ("bin", "dev", "proc", "sys", "etc", "lib64", "run", "tmp", "var"):
            (self.root / name).mkdir(parents=True)
        self.put("/bin/busybox", "/bin/busybox")
        self.put(shutil.which("ip"), "/usr/bin/ip")
        self.text("/init", self.INIT, mode=0o755)

    def put(self, source, at):
        """A file, with the libraries that it is linked with."""
        target = self.root / str(at).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        for library in libraries(source):
            self.library(library)

    def library(self, path):
        """A file with the names that lead to it: a library that came under two names would be loaded twice."""
        real = os.path.realpath(path)
        place = self.root / real.lstrip("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(real, place)
        name = self.root / str(path).lstrip("/")
        if str(path) != real and not name.exists():
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(real)

    def text(self, at, text, mode=0o644):
        target = self.root / at.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def drivers(self, *names):
        """DPDK's drivers, which it loads from its folder by itself."""
        for folder in pathlib.Path("/usr/lib").glob("*/dpdk/pmds-*"):
            for name in names:
                for file in folder.glob(f"librte_{name}.so.*"):
                    self.library(file)
                    for needed in libraries(file):
                        self.library(needed)

    def modules(self, *names):
        """Kernel modules with what they need, for modprobe."""
        kernel = kernel_directory()
        release = next(kernel.glob("lib/modules/*")).name
        for name in names:
            listed = run("modprobe", "-d", kernel, "-S", release, "--show-depends", "--ignore-install", name).stdout
            for path in re.findall(r"^insmod (\S+)", listed, re.M):
                place = self.root / os.path.relpath(path, kernel)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place)
        for file in kernel.glob("lib/modules/*/modules.*"):
            place = self.root / file.relative_to(kernel)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)

    def write(self):
        names = run("find", ".", "-print0", cwd=self.root).stdout
        archive = subprocess.run(["cpio", "--null", "--create", "--format=newc", "--quiet"], input=names.encode(), cwd=self.root,
                                 capture_output=True, check=True).stdout
        self.file.write_bytes(gzip.compress(archive, 1))
        return self.file


class Guest:
    """A running machine. `namespace`: where the other end of its NIC is, the tap `tap`."""

    def __init__(self, namespace, image, device, mac, tap="tap0", memory_mib=1024, processors=2):
        self.directory = namespace.directory
        self.log = self.directory / "console"
        control = self.directory / "control"
        namespace.ip(f"tuntap add {tap} mode tap", f"link set {tap} up")
        kernel = next(kernel_directory().glob("boot/vmlinuz-*"))
        self.process = namespace.start(
            "qemu-system-x86_64", "-M", "q35", "-cpu", "Nehalem", "-accel", "tcg", "-smp", processors, "-m", memory_mib, "-nodefaults", "-nographic",
            "-no-reboot", "-kernel", kernel, "-initrd", image.write(), "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0",
            "-serial", f"file:{self.log}", "-serial", f"unix:{control},server=on,wait=off",
            "-netdev", f"tap,id=lan,ifname={tap},script=no,downscript=no", "-device", f"{device},netdev=lan,mac={mac}",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(control.exists, 10, self.why("QEMU to start"))
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(control))
        self.rest = b""
        self.answer("its start", 120)

    def why(self, what):
        return lambda: f"{what}: {self.log.read_text()[-2000:] if self.log.exists() else 'no console'}"

    def run(self, command, check=True, timeout_s=60):
        """Runs a shell line in the guest; what it printed."""
        self.line.sendall(command.replace("\n", " ").encode() + b"\n")
        text, status = self.answer(command, timeout_s)
        if check and status:
            raise Failure(f"in the guest: {command}: exit status {status}: {text}")
        return text

    def answer(self, command, timeout_s):
        end_s = time.monotonic() + timeout_s
        while True:
            found = re.search(rb"(.*?)\r?\n?" + MARK.encode() + rb" (\d+)\r?\n", self.rest, re.S)
            if found:
                self.rest = self.rest[found.end():]
                return found[1].decode(errors="replace"), int(found[2])
            if self.process.poll() is not None:
                raise Failure(self.why(f"QEMU ended: {self.process.stdout.read()}")())
            if not select.select([self.line], [], [], max(0, end_s - time.monotonic()))[0]:
                raise Failure(self.why(f"in the guest: {command}: no answer within {timeout_s:g} s: {self.rest[-500:]!r}")())
            self.rest += self.line.recv(65536)

    def put(self, at, text):
        """Writes a file of the guest."""
        code = base64.b64encode(text.encode()).decode()
        self.run(f"rm -f {at}")
        for start in range(0, len(code), 1024):  # a terminal's line has a length
            self.run(f"printf %s {code[start:start + 1024]} | base64 -d >>{at}")

    def close(self):
        self.line.close()
        end(self.process)
