"""Peers are installed once, and a reason is given for one that can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import install


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ai-gateway-bench"


def test_peers_are_kept_outside_the_project(cache: Path) -> None:
    """In the cache folder of whoever runs the benchmark."""
    assert install.cache() == cache


def test_what_is_there_is_not_installed_again(cache: Path) -> None:
    """The stamp of the version is enough."""
    folder = cache / f"litellm-{install.LITELLM_VERSION}"
    folder.mkdir(parents=True)
    (folder / "installed").touch()
    assert install.litellm() == folder / "bin" / "litellm"


def test_missing_installer_is_the_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(install.NotInstalledError, match="npm is needed"):
        install.portkey()
