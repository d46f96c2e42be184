"""What `rigatoni new-plugin` writes passes its tests, builds, installs and is listed; from wheels alone.

python tests/packaging/new_plugins.py FOLDER_WITH_THE_WHEELS_OF_CORE_AND_THE_TESTING_KIT
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

KINDS = ("destination", "source", "state", "serializer", "transform", "listener", "command")


def main(wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run([sys.executable, "-m", "virtualenv", "-q", place / "venv"], check=True)
        bin_ = place / "venv" / "bin"
        kit = [next(wheels.glob(f"rigatoni_{name}-*.whl")) for name in ("core", "objects", "testing")]
        install = [bin_ / "python", "-m", "pip", "install", "-q", "--find-links", wheels]
        subprocess.run([*install, *kit, "build[virtualenv]", "mypy"], check=True)
        for kind in KINDS:
            check(kind, place, bin_, install)
    print(f"{len(KINDS)} new plugins: tests pass, types hold, wheels install and are listed")


def check(kind: str, place: Path, bin_: Path, install: Sequence[str | Path]) -> None:
    """One new plugin from its command to the list, as a stranger would do it."""
    distribution = f"rigatoni-acme-{kind}"
    folder = place / distribution
    subprocess.run([bin_ / "rigatoni", "new-plugin", distribution, "--kind", kind], cwd=place, check=True)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) <= 10, files
    assert not [path for path in files if "template" in (path.name + path.read_text()).lower()], files
    subprocess.run(
        [bin_ / "python", "-m", "build", "-q", "--wheel", "--outdir", place / "dist"], cwd=folder, check=True
    )
    (wheel,) = (place / "dist").glob(f"{distribution.replace('-', '_')}-*.whl")
    subprocess.run([*install, wheel], check=True)
    subprocess.run([bin_ / "python", "-m", "pytest", "-q", "tests"], cwd=folder, check=True)
    subprocess.run([bin_ / "python", "-m", "mypy", "--strict", "src"], cwd=folder, check=True)
    subprocess.run([bin_ / "rigatoni", "plugins", "check", distribution], check=True)
    listed = subprocess.run([bin_ / "rigatoni", "plugins", "list", "--json"], check=True, capture_output=True)
    (plugin,) = [each for each in json.loads(listed.stdout) if each["distribution"] == distribution]
    assert [provided["kind"] for provided in plugin["provides"]] == [kind], plugin


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
