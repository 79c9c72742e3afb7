"""``reclaim paper``: what there is, a run with its files, and wrong calls."""

import json
from pathlib import Path

from reclaim.core.registry import names


def test_without_a_name_it_lists_what_each_entry_needs(reclaim) -> None:
    found = reclaim("paper", "--json").json["papers"]
    assert [entry["name"] for entry in found] == names("papers")
    assert all(entry["needs"] and entry["source"] for entry in found)
    assert "digits-left-out" in reclaim("paper").out


def test_a_run_writes_its_table_its_parts_and_what_repeats_it(reclaim, tmp_path: Path) -> None:
    out = tmp_path / "table"
    done = reclaim("paper", "digits-left-out", "--smoke", "--out", out, "--json")
    assert done.code == 0 and "about" in done.err
    kept = json.loads((out / "table.json").read_text())
    assert kept == done.json and kept["paper"] == "digits-left-out" and kept["size"] == "smoke"
    assert "fine-tuned" in kept["table"]["rows"]
    assert "versions" in json.loads((out / "run.json").read_text())
    assert [path.name for path in (out / "parts").iterdir()] == ["seed-0.json"]
    again = reclaim("paper", "digits-left-out", "--smoke", "--out", out)
    assert again.code == 2 and "exists already" in again.err


def test_a_stopped_run_goes_on_with_its_parts(reclaim, tmp_path: Path) -> None:
    reclaim("paper", "digits-left-out", "--smoke", "--out", tmp_path / "first", "--quiet")
    part = tmp_path / "second.partial" / "parts" / "seed-0.json"
    part.parent.mkdir(parents=True)
    kept = json.loads((tmp_path / "first" / "parts" / "seed-0.json").read_text())
    part.write_text(json.dumps({**kept, "rows": {"fine-tuned": [1.0, 2.0, 3.0, 4.0]}}))
    done = reclaim("paper", "digits-left-out", "--smoke", "--out", tmp_path / "second", "--json").json
    assert list(done["table"]["rows"]) == ["fine-tuned"]
    assert not part.exists()


def test_wrong_calls_say_what_to_do(reclaim) -> None:
    unknown = reclaim("paper", "digit-left-out")
    assert unknown.code == 2 and "digits-left-out" in unknown.err
    both = reclaim("paper", "digits-left-out", "--quick", "--smoke")
    assert both.code == 2 and "--smoke" in both.err
