"""Release one distribution.

    python -m nox -s release -- rigatoni-s3 0.1.0            (--dry-run: everything but the tag)

It checks that the version, the changelog and the clone are ready. It builds the source distribution, builds the wheel
from it, and checks both. It runs the distribution's tests against the wheel, in a fresh environment with its
dependencies. It writes the bill of materials (CycloneDX), and tags the commit. Push the tag yourself: the workflow then
publishes it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from releasing.checks import faults_of, faults_of_files, git, tag_of
from releasing.environments import Environment, clone_without_sources, wheels_of

ROOT = Path(__file__).parent.parent


def main() -> int:
    arguments = argparse.ArgumentParser(
        prog="release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("name", help="the distribution, such as rigatoni-s3")
    arguments.add_argument("version", help="its new version, as its pyproject.toml says it")
    arguments.add_argument("--dry-run", action="store_true", help="do not tag")
    arguments.add_argument("--tagged", action="store_true", help="the tag is there already: this is what it publishes")
    arguments.add_argument("--output", type=Path, default=Path("dist"), help="where the files go (default dist)")
    options = arguments.parse_args()
    name, version = options.name, options.version
    if refused("before the build", list(faults_of(ROOT, name, version, tagged=options.tagged))):
        return 1
    built = options.output.absolute() / name
    shutil.rmtree(built, ignore_errors=True)
    say(f"building {name} {version}: the source distribution, and the wheel from it")
    run(sys.executable, "-m", "build", "--quiet", "--outdir", built, ROOT / name)
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())
    if refused("in what was built", list(faults_of_files(built, name))):
        return 1
    test(name, built)
    if options.dry_run:
        say(f"{name} {version} is ready, in {built}; it was not tagged")
        return 0
    git(ROOT, "tag", "--annotate", tag_of(name, version), "--message", f"{name} {version}")
    say(f"{name} {version} is tagged. To publish it: git push origin {tag_of(name, version)}")
    return 0


def test(name: str, built: Path) -> None:
    """Run the tests of a distribution against its wheel, without the other files of the clone."""
    (wheel,) = built.glob("*.whl")
    with tempfile.TemporaryDirectory() as place:
        environment = Environment(Path(place) / "venv")
        others = wheels_of(ROOT, Path(place) / "wheels", but=name)
        say(f"testing {wheel.name} in a fresh environment")
        environment.install_for_tests(wheel, others)
        clone = clone_without_sources(ROOT, Path(place) / "clone")
        environment.run("python", "-m", "pytest", "-q", "-n", "2", f"{name}/tests", cwd=clone)
        environment.write_bill_of_materials(built / f"{wheel.name.removesuffix('.whl')}.cdx.json")


def refused(when: str, faults: list[str]) -> bool:
    for fault in faults:
        say(f"error: {fault}")
    if faults:
        say(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} {when}; nothing was tagged")
    return bool(faults)


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"})


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        say(f"error: {Path(str(error.cmd[0])).name} failed, see above; nothing was tagged")
        sys.exit(1)
