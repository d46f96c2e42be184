"""`python -m rigatoni_prometheus alerts|dashboard` prints the alert rules or the dashboard of this distribution."""

import sys
from importlib import resources

FILES = {"alerts": "alerts/rigatoni.yml", "dashboard": "dashboards/rigatoni.json"}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in FILES:
        sys.exit(f"usage: python -m rigatoni_prometheus {'|'.join(FILES)}")
    sys.stdout.write(resources.files("rigatoni_prometheus").joinpath(FILES[sys.argv[1]]).read_text(encoding="utf-8"))
