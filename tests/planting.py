"""Run commands while a module of every name that they ask for is put beside what they work on.

``python -P tests/planting.py COMMANDS FOLDER…``, where COMMANDS is JSON, a list of lists of words. Whenever a top-level
module is asked for, a file of its name is planted in every folder, before Python looks for it; such a file tells that
it ran. Printed is JSON: the names asked for, those that ran, and the exit code of each command.

With ``--exposed`` the working directory is searched, last of all: what this shows is that a planted module would run.
"""

import builtins
import contextlib
import io
import json
import sys
from pathlib import Path

RAN: list[str] = []
OWN = {"own_nets"}  # the user's, typed by the user


class Planter:
    """Finds no module, but plants one of every name that is asked for."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders, self.asked = folders, set[str]()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        top = name.partition(".")[0]
        if top in self.asked | OWN:
            return
        self.asked.add(top)
        for folder in self.folders:
            (folder / f"{top}.py").write_text("import builtins; builtins.planted_modules_that_ran.append(__name__)\n")
            if (finder := sys.path_importer_cache.get(str(folder.resolve()))) is not None:
                finder.invalidate_caches()  # type: ignore[attr-defined]


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--exposed"]
    planter = Planter([Path(folder) for folder in words[1:]])
    vars(builtins)["planted_modules_that_ran"] = RAN
    if "--exposed" in sys.argv:
        sys.path.append("")
    sys.meta_path.insert(0, planter)  # type: ignore[arg-type]
    from reclaim.cli.main import main as run

    codes: dict[str, object] = {}
    for command in json.loads(words[0]):
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                run(command)
                codes[" ".join(command)] = 0
            except SystemExit as stop:
                codes[" ".join(command)] = stop.code or 0
            except Exception as error:  # what a planted module breaks when it runs
                codes[" ".join(command)] = repr(error)
    sys.stdout.write(json.dumps({"asked": sorted(planter.asked), "ran": RAN, "codes": codes}))


if __name__ == "__main__":
    main()
