"""Where results come from: every source, library and file counts."""

import json
from dataclasses import replace
from types import SimpleNamespace

from shared import provenance


def test_every_source_and_library_counts_for_prepared_cases(tmp_path, monkeypatch):
    for name in ("shared", "paper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.setattr(
        provenance.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / name / "__init__.py"))
    )
    found = [provenance.code.__wrapped__("paper")]
    for path in (tmp_path / "shared/scans/new.py", tmp_path / "paper/__init__.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("step = 2")
        found.append(provenance.code.__wrapped__("paper"))
    monkeypatch.setattr(provenance.importlib.metadata, "version", lambda name: "0.1")
    assert len({*found, provenance.code.__wrapped__("paper")}) == 4


def test_a_library_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "FRAMEWORKS", ("keras", "no_such_library"))
    assert provenance.version("no_such_library") == "" and provenance.version("keras") == provenance.origin()["versions"]["keras"]
    assert "no_such_library" not in provenance.origin()["versions"]


def test_every_file_of_a_case_counts(phantom_cases, tmp_path):
    case = phantom_cases[0]
    moved = replace(case, image=tmp_path / "other_name.nii.gz")
    moved.image.write_bytes(case.image.read_bytes())
    damaged = replace(case, label=tmp_path / "label.nii.gz")
    damaged.label.write_bytes(case.label.read_bytes() + b"x")
    unlabelled = replace(case, label=None)
    found = [provenance.fingerprints([each])[case.name] for each in (case, moved, damaged, unlabelled)]
    assert found[0] == found[1] and len(set(found)) == 3
    assert provenance.fingerprints(phantom_cases).keys() == {case.name for case in phantom_cases}


def test_an_origin_can_be_written_to_a_record():
    origin = json.loads(json.dumps(provenance.origin()))
    assert origin.keys() == {"commit", "versions", "hardware"}
    assert {"python", "backend", "keras", "numpy"} <= origin["versions"].keys() and origin["hardware"]
