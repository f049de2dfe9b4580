"""The costs in the documents are those that their script works out."""

import json
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def tables(*arguments: object) -> list[str]:
    command = [sys.executable, DOCS / "costs.py", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return printed.strip().split("\n\n")


def test_the_tables_of_the_page_are_what_the_script_prints():
    page = (DOCS / "costs.md").read_text()
    assert len(tables()) == 3
    for table in tables():
        assert f"\n\n{table}\n\n" in page


def test_prices_and_rates_of_the_page_are_those_of_the_script():
    page, known = (DOCS / "costs.md").read_text(), json.loads((DOCS / "costs.json").read_text())
    for price in known["prices"].values():
        assert f"${price}" in page
    assert f"{known['measured']['prepare_cpu_s'] * 1000:g} ms" in page
    assert f"{known['measured']['dataset_bytes']:,} bytes" in page
    assert f"${known['prices']['gpu_node_hour']} an hour" in (DOCS / "gke.md").read_text()


def test_other_prices_give_other_costs(tmp_path):
    known = json.loads((DOCS / "costs.json").read_text())
    known["prices"]["storage_gb_month"] *= 10
    (tmp_path / "dear.json").write_text(json.dumps(known))
    before, after = tables()[1], tables(tmp_path / "dear.json")[1]
    assert "| $275 |" in before
    assert "| $2,750 |" in after
