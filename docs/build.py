"""Builds the pages of the package and of the rules from their docstrings: docs/build/index.html (`make docs`).

Every warning is an error: a module that cannot be imported, an annotation that cannot be read, a rule without words.
"""

import html
import os
import re
import sys
import warnings
from itertools import groupby
from pathlib import Path

import pdoc

from dioscuri import __version__

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "build"
# A rule's name and its docstring; of `use rule base as name with:` the name of the base.
RULE = re.compile(r'^ *rule (\w+):\n *"""(.*?)"""|^ *use rule (\w+) as (\w+)|^ *rule (\w+)', re.DOTALL | re.MULTILINE)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.5 }}
dt {{ font-family: monospace; font-weight: bold; margin-top: .6rem }} code {{ background: #eee }}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def main() -> None:
    """Write all pages."""
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # numba asks the system what it is
    warnings.simplefilter("error")
    # Libraries that the package imports, as pyproject.toml lists them for the tests.
    warnings.filterwarnings("ignore", module="isochrones")
    warnings.filterwarnings("ignore", message=".*pkg_resources.*")
    pdoc.render.configure(docformat="google", footer_text=f"dioscuri {__version__}", show_source=False)
    pdoc.pdoc("dioscuri", output_directory=OUT)
    write("rules.html", "The rules of the workflow", rules_page())
    links = '<p><a href="dioscuri.html">The package</a> · <a href="rules.html">The rules</a></p>'
    write("index.html", f"dioscuri {__version__}", links)
    print(OUT / "index.html")


def write(name: str, title: str, body: str) -> None:
    (OUT / name).write_text(PAGE.format(title=title, body=body), encoding="utf-8")


def rules_page() -> str:
    """Every rule with its docstring, by file, in the order in which Snakemake reads them."""
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").rglob("*.smk")]
    parts, silent = [], []
    for folder, paths in groupby(sorted(files), key=lambda path: path.parent.name):
        parts.append(f"<h2>{'Targets' if folder == ROOT.name else html.escape(folder)}</h2>")
        for path in paths:
            text = path.read_text(encoding="utf-8")
            head = text.split("\n", 1)[0].removeprefix("# ") if text.startswith("#") else ""
            terms = []
            for name, words, base, variant, wordless in RULE.findall(text):
                silent += [wordless] if wordless else []
                about = " ".join(words.split()) or f"As {base}, with other inputs or settings."
                terms.append(f"<dt>{name or variant}</dt><dd>{html.escape(about)}</dd>")
            if terms:
                title = f"<h3><code>{path.relative_to(ROOT)}</code></h3><p>{html.escape(head)}</p>"
                parts.append(f"{title}<dl>{''.join(terms)}</dl>")
    if silent:
        raise SystemExit("rules without a docstring: " + ", ".join(silent))
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
