"""``python -m tests.model --steps N --seed S``: the model alone."""

from __future__ import annotations

import argparse
import json
import secrets

from tests.model.running import FULL, QUICK, run

PROFILES = {"quick": QUICK, "full": FULL}


def main() -> None:
    """Run as asked; the seed is printed before, so that it is known if the run is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--steps", type=int, help="overrides the profile")
    parser.add_argument("--seed", type=int, help="a random one otherwise")
    parser.add_argument("--json", action="store_true", help="the last line is a document")
    asked = parser.parse_args()
    steps = asked.steps or PROFILES[asked.profile]
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
    print(f"model: {steps:,} steps from seed {seed}", flush=True)
    report = run(steps, seed)
    print(report)
    if asked.json:
        print(json.dumps(report.document()))


if __name__ == "__main__":
    main()
