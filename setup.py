"""What pyproject.toml cannot say: a built package keeps the commit that it was made from."""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


def _commit() -> str:
    """The commit of this folder; `+dirty` where files differ from it; nothing outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(HERE), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "setup.py")  # the folder may lie in a repository of somebody else
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


class BuildWithCommit(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode and (commit := _commit()):
            (Path(self.build_lib) / "evoembedding" / "commit.txt").write_text(commit + "\n")


setup(cmdclass={"build_py": BuildWithCommit})
