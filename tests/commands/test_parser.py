from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.commands.parser import add_json, add_run, add_runs, as_json, parser_of


def test_texts_keep_their_line_ends_and_flags_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    parser = parser_of("verb", "One line.\nAnother.", "examples:\n  python -m orchestrator verb")
    parser.add_argument("--delete", action="store_true")
    assert parser.format_help().startswith("usage: python -m orchestrator verb ")
    assert "One line.\nAnother.\n" in parser.format_help()
    assert "examples:\n  python -m orchestrator verb\n" in parser.format_help()
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--del"])
    assert ended.value.code == 2
    assert "--del" in capsys.readouterr().err


def test_a_run_may_be_named() -> None:
    parser = parser_of("verb", "")
    add_run(parser)
    assert (parser.parse_args([]).run, parser.parse_args(["latest"]).run) == (None, "latest")


def test_where_the_runs_are_may_be_said_and_json_has_a_version() -> None:
    parser = parser_of("verb", "")
    add_runs(parser)
    add_json(parser)
    assert (parser.parse_args([]).runs, parser.parse_args(["--runs", "a"]).runs) == (Path("runs"), Path("a"))
    assert parser.parse_args(["--json"]).json is True
    assert as_json(cells=(1,)) == '{\n  "schema_version": 1,\n  "cells": [\n    1\n  ]\n}\n'
