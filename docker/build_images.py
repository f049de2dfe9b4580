"""Builds the images of both Dockerfiles by buildah, without a daemon and without docker. Standard library only.

    python3 docker/build_images.py train,tune          # for CPUs; train,tune,gpu adds CUDA

Buildah (Debian: `apt-get install --no-install-recommends buildah mmdebstrap`) runs as root in chroots. Where the public
base images can't be pulled, bases with the same Python are made of Debian's packages, and the program that starts
Beam's workers is compiled from its Go module. All of it is kept in build/images, and reused by the next build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
STORE = ROOT / "build" / "images"
NAMES = ("trainer", "prep")
"""The names of the images; localhost/cxrflow-NAME is their tag."""

DEBIAN = {
    "BASE": ("python3", "ca-certificates"),
    "BUILDER": ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "ca-certificates"),
}
"""The packages of the base images that stand in for those that can't be pulled, by the argument of the Dockerfiles."""

SITE_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""The files of this machine by which pip finds its index; the build sees them, the image does not have them."""

CYCLONEDX = "cyclonedx-bom==7.5.0"
"""The tool that lists the packages of an image with their licences; uv runs it in an environment of its own."""


def buildah(*arguments: object, capture: bool = True) -> str:
    """Runs buildah on the images of this checkout; returns what it prints, unless `capture` is False."""
    store = ("--storage-driver", driver(), "--root", STORE / driver(), "--runroot", STORE / "run")
    command = [str(part) for part in ("buildah", *store, *arguments)]
    result = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return (result.stdout or "").strip()


def driver() -> str:
    """Returns how layers are stored: by overlay mounts, or, where the kernel has none, as whole copies."""
    supported = "overlay" in Path("/proc/filesystems").read_text(encoding="utf-8").split()
    return os.environ.get("STORAGE_DRIVER") or ("overlay" if supported else "vfs")


def mounted(image: str) -> Path:
    """Returns the folder in which the files of an image are mounted, until `unmount`."""
    return Path(buildah("mount", buildah("from", "--name", f"seen-{image}", f"localhost/cxrflow-{image}"))).resolve()


def unmount(image: str) -> None:
    """Takes back what `mounted` did, or an earlier process that was killed."""
    if f"seen-{image}" in buildah("containers", "--format", "{{.ContainerName}}").split():
        buildah("rm", f"seen-{image}")


def base_of(argument: str, public: str) -> str:
    """Returns the image that an ARG of a Dockerfile names, if it can be pulled, otherwise one that stands in for it."""
    own = f"localhost/cxrflow-{argument.lower()}"
    if own in buildah("images", "--format", "{{.Name}}").split():
        return own
    name = (
        public if "." in public.partition("/")[0] else f"docker.io/{public if '/' in public else f'library/{public}'}"
    )
    try:
        buildah("pull", "--quiet", "--policy", "missing", name)
        return name
    except subprocess.CalledProcessError:
        print(f"{name} can't be pulled; making {own}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=STORE) as folder:
        files = Path(folder, "files")
        if argument == "SDK":
            compile_boot(re.split("[:@]", public)[1], files / "opt/apache/beam")
        else:
            files = Path(folder, "files.tar")
            needs("mmdebstrap")
            include = f"--include={','.join(DEBIAN[argument])}"
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", include, "bookworm", files], check=True)
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, files, "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        buildah("config", "--env", path, container)
        buildah("commit", "--quiet", "--rm", container, own)
    return own


def compile_boot(version: str, folder: Path) -> None:
    """Compiles the program that starts Beam's workers in their containers, from the source of a version of Beam."""
    needs("go")
    folder.mkdir(parents=True)
    module = f"github.com/apache/beam/sdks/v2@v{version}"
    with tempfile.TemporaryDirectory() as work:
        go_mod = f"module boot\ngo 1.24\nrequire {module.replace('@', ' ')}\n"
        Path(work, "go.mod").write_text(go_mod, encoding="utf-8")
        told = subprocess.run(
            ["go", "mod", "download", "-json", module], cwd=work, check=True, text=True, stdout=subprocess.PIPE
        )
        shutil.copy(Path(json.loads(told.stdout)["Dir"], "LICENSE"), folder)
        build = ["go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", folder / "boot"]
        package = f"{module.partition('@')[0]}/python/container"
        subprocess.run([*build, package], cwd=work, check=True, env={**os.environ, "CGO_ENABLED": "0"})


def build(name: str, extras: str) -> None:
    """Builds an image from its Dockerfile."""
    dockerfile = DOCKER / f"{name}.Dockerfile"
    defaults = re.findall(r"^ARG (SDK|BUILDER|BASE)=(\S+)", dockerfile.read_text(encoding="utf-8"), flags=re.M)
    arguments = [f"--build-arg={argument}={base_of(argument, public)}" for argument, public in defaults]
    if name == "trainer":
        arguments.append(f"--build-arg=EXTRAS={extras}")
    sites = [f"--volume={file}:{file}:ro" for file in SITE_FILES if Path(file).exists()]
    tag = f"--tag=localhost/cxrflow-{name}"
    buildah(
        "build", "--layers", "--isolation=chroot", *sites, *arguments, f"--file={dockerfile}", tag, ".", capture=False
    )


def write_bill(name: str, packages: Path) -> None:
    """Writes build/images/sbom-NAME.json: the Python packages in a folder, with their licences, in CycloneDX."""
    uv = shutil.which("uv", path=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    if uv is None:
        print("no uv (make setup brings it): no bill of materials is written", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        # The tool asks a Python where its packages are; that of the image need not run on this machine.
        python = Path(folder, "python")
        python.write_text(f"#!/bin/sh\necho '{json.dumps([str(packages)])}'\n", encoding="utf-8")
        python.chmod(0o755)
        tool = [uv, "tool", "run", "--quiet", "--from", CYCLONEDX, "cyclonedx-py", "environment", python]
        subprocess.run([*tool, "--output-file", STORE / f"sbom-{name}.json"], check=True)


def needs(program: str) -> None:
    """Ends the program with a line if another one is missing."""
    if shutil.which(program) is None:
        sys.exit(f"error: expected {program} on the PATH, found none; on Debian: apt-get install {program}")


def main(extras: str) -> None:
    """Builds both images, writes their bills of materials and prints their sizes."""
    needs("buildah")
    if os.geteuid():
        sys.exit("error: buildah builds in chroots here, for which it needs root; run this as root, or take docker")
    STORE.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        unmount(name)
        begun = time.monotonic()
        build(name, extras)
        seconds = time.monotonic() - begun
        files = mounted(name)
        try:
            write_bill(name, files / "opt/cxrflow/lib/python3.11/site-packages")
        finally:
            unmount(name)
        image = json.loads(buildah("inspect", "--type", "image", f"localhost/cxrflow-{name}"))
        size = buildah("images", "--format", "{{.Size}}", f"localhost/cxrflow-{name}")
        num_layers = len(image["OCIv1"]["rootfs"]["diff_ids"])
        print(f"localhost/cxrflow-{name}: {size}, {num_layers} layers, built in {seconds:.0f} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "train,tune")
    except subprocess.CalledProcessError as failed:
        words = " ".join(str(word) for word in failed.cmd)
        sys.exit(f"error: exit code {failed.returncode} of: {words}")
