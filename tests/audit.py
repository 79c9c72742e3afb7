"""Ask whether a vulnerability is known in any package that `constraints.txt` names, and say so where nobody answers.

Run: python -m tests.audit [PIP-AUDIT]   Exit code 1 if one is known; 0 if none is, or if nothing could be audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LISTED = Path(__file__).parent.parent / "constraints.txt"
OPTIONS = ("--strict", "--format", "json", "--progress-spinner", "off", "--no-deps", "--disable-pip", "-r", str(LISTED))


def said(output: str, errors: str) -> tuple[str, int]:
    """What an answer of pip-audit means, and the exit code for it. Without JSON, or where packages were skipped, it has
    audited nothing, whatever it says."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["no answer"])[-1]
        return f"not audited: {last}", 0
    known = [f"{each['name']} {each['version']}: {flaw['id']}" for each in found for flaw in each.get("vulns", ())]
    if known:
        return "\n".join(["vulnerabilities are known:", *known]), 1
    audited = sum("vulns" in each for each in found)
    if not found or audited < len(found):
        return f"not audited: {len(found) - audited} of {len(found)} packages were skipped", 0
    return f"{audited} packages audited, no vulnerability is known", 0


def main() -> int:
    program = sys.argv[1] if len(sys.argv) > 1 else str(Path(sys.executable).parent / "pip-audit")
    try:
        done = subprocess.run([program, *OPTIONS], capture_output=True, text=True, timeout=120, check=False)
        message, code = said(done.stdout, done.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        message, code = f"not audited: {error}", 0
    print(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
