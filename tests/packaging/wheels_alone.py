"""Each plugin's wheel, installed alone beside the core's and what it requires, works. Called by `nox -s wheels`.

python tests/packaging/wheels_alone.py FOLDER_WITH_WHEELS
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = {"rigatoni-arrow", "rigatoni-bson", "rigatoni-native", "rigatoni-objects", "rigatoni-tables"}
"""Distributions without components: other plugins require them."""
EXTENDED = {"rigatoni-bigquery": {"rigatoni-gcs"}}
"""The plugins that a plugin extends, and therefore requires."""


def main(folder: Path) -> None:
    wheels = sorted(folder.glob("*.whl"))
    (core,) = [wheel for wheel in wheels if wheel.name.startswith("rigatoni_core-")]
    for wheel in wheels:
        with tempfile.TemporaryDirectory() as place:
            check(wheel, core, Path(place))
    print(f"{len(wheels)} wheels: each works alone beside the core")


def check(wheel: Path, core: Path, place: Path) -> None:
    subprocess.run([sys.executable, "-m", "virtualenv", "-q", str(place)], check=True)
    python = place / "bin" / "python"
    command = [python, "-m", "pip", "install", "-q", "--find-links", wheel.parent, *{core, wheel}]
    subprocess.run(command, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run([place / "bin" / "rigatoni", "plugins", "list", "--json"], check=True, capture_output=True)
    plugins = json.loads(listed.stdout)
    name = wheel.name.partition("-")[0].replace("_", "-")
    expected = {"rigatoni-core", name, *EXTENDED.get(name, ())} - LIBRARIES
    assert {plugin["distribution"] for plugin in plugins} == expected, plugins
    assert all(plugin["status"] == "ok" for plugin in plugins), plugins
    if name in LIBRARIES:
        subprocess.run([python, "-c", f"import {name.replace('-', '_')}"], check=True)
        print(f"{wheel.name}: a library")
        return
    provides = [provided for plugin in plugins if plugin["distribution"] == name for provided in plugin["provides"]]
    assert provides, plugins
    for provided in provides:
        command = [place / "bin" / "rigatoni", "plugins", "show", provided["name"], "--json"]
        shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert provided["kind"] in {each["kind"] for each in shown}, shown
    print(f"{wheel.name}: {', '.join(provided['name'] for provided in provides)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
