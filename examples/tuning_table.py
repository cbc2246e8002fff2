"""Tune on addition by every method, measure it and what it should carry over to: docs/results.md.

Run: python examples/tuning_table.py [--out runs/tuning-table] [--resume]

On smollm2-135m it takes an hour or so on 2 cores; finished runs are kept, and --resume goes on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from brodmann.experiments.tuning_table import TuningTableConfig, run
from brodmann.storage import write_json


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tuning-table"))
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(words)
    table = run(TuningTableConfig(), options.out, resume=options.resume)
    write_json(options.out / "table.json", {"rows": table.rows, "summary": table.summary})
    for row in table.summary:
        print(
            f"{row['method']:30} {row['data'].partition(':')[0]:22} "
            f"{row['base']:.2f} -> {row['tuned']:.2f} "
            f"({row['tuned_lowest']:.2f} to {row['tuned_highest']:.2f}) "
            f"{row['change']:+.2f} [{row['change_low']:+.2f}, {row['change_high']:+.2f}]  "
            f"margin {row['margin_change']:+.2f} "
            f"[{row['margin_change_low']:+.2f}, {row['margin_change_high']:+.2f}]"
        )


if __name__ == "__main__":
    main()
