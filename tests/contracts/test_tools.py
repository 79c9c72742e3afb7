"""The tools that judge the project say what they did, and nothing better."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit import said
from tests.mutants import faults_of
from tests.reach import Reach


@pytest.mark.parametrize(
    ("output", "errors", "message", "code"),
    [
        ("", "ERROR: no connection", "not audited: ERROR: no connection", 0),
        ("No known vulnerabilities found", "", "not audited: no answer", 0),
        ('{"dependencies": []}', "", "not audited: 0 of 0", 0),
        ([{"name": "a", "skip_reason": "?"}, {"name": "b", "version": "1", "vulns": []}], "", "not audited: 1 of 2", 0),
        ([{"name": "b", "version": "1", "vulns": []}], "", "1 packages audited, no vulnerability is known", 0),
        ([{"name": "b", "version": "1", "vulns": [{"id": "CVE-1"}]}], "", "b 1: CVE-1", 1),
    ],
)
def test_an_audit_without_answers_is_none(output: object, errors: str, message: str, code: int) -> None:
    text = output if isinstance(output, str) else json.dumps({"dependencies": output})
    told, number = said(text, errors)
    assert message in told and number == code


def test_a_fault_changes_one_place_and_the_file_still_parses() -> None:
    file = Path(__file__).parent.parent.parent / "src/reclaim/calibration/selectors/retention_budget.py"
    content = file.read_bytes()
    faults = faults_of(file)
    assert len(faults) > 50
    for fault in faults:
        changed = fault.put_into(content)
        assert ast.unparse(ast.parse(changed)) != ast.unparse(ast.parse(content)), fault
    kinds = {(fault.before, fault.after) for fault in faults}
    assert ("n < needed", "n <= needed") in kinds or any(after.replace("<=", "<") == before for before, after in kinds)


def test_a_fault_meets_first_the_quick_tests_that_run_its_line() -> None:
    reach = Reach(
        {"a.py::slow": {("f.py", 3)}, "b.py::quick": {("f.py", 4)}, "b.py::far": {("f.py", 9)}, "c.py::other": set()},
        {"a.py::slow": 5.0, "b.py::quick": 1.0, "b.py::far": 0.1, "c.py::other": 0.1, "d.py::starts": 0.2},
        {"d.py::starts"},
    )
    assert reach.first("f.py", range(3, 5)) == ["b.py::quick", "a.py::slow", "d.py::starts"]
    assert reach.first("f.py", range(1, 2)) == ["d.py::starts", "b.py::far", "b.py::quick", "a.py::slow"]


def test_what_runs_when_a_file_is_imported_is_reached_by_no_test_more_than_by_another(tmp_path: Path) -> None:
    """A default is set by whichever test imports the file first."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lazy.py").write_text("class C:\n    width = 3\n\n\ndef f(a=1):\n    return a\n")
    (tmp_path / "test_lazy.py").write_text(
        "def test_a():\n    import lazy\n\n\ndef test_b():\n    import lazy\n    lazy.f()\n"
    )
    code = (
        "import sys, pytest; from pathlib import Path; from tests.reach import Noting\n"
        f"sys.path.insert(0, {str(tmp_path / 'src')!r}); noting = Noting(Path({str(tmp_path / 'src')!r}))\n"
        f"pytest.main([{str(tmp_path / 'test_lazy.py')!r}, '-q', '-p', 'no:cacheprovider'], [noting])\n"
        "print([sorted(lines) for lines in noting.reach.lines.values()])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "[[], [('lazy.py', 6)]]"
