"""What figures were taken on: for the JSON files and the heads of tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this tree, if git knows; with a plus sign where files differ from it."""
    root = Path(__file__).resolve().parents[1]
    try:
        name, changed = [subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True,
                                        check=True).stdout.strip()
                         for arguments in (["rev-parse", "--short", "HEAD"],
                                           ["status", "--porcelain", "--untracked-files=no"])]
    except (OSError, subprocess.CalledProcessError):
        return None
    return name + ("+" if changed else "")


def describe() -> dict:
    """Machine, system and versions."""
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(),
            "python": sys.version.split()[0], "commit": commit(), "date": time.strftime("%Y-%m-%d %H:%M")}


def load() -> str:
    """The machine's load, as text."""
    return f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores"
