"""Of the recipes, what can be held without running them: their kit and their page."""

import re
from pathlib import Path

from backends.engines.llama_build import OPTIONS, RECIPES

ROOT = Path(__file__).parents[2]


def test_the_recipes_programs_are_built_like_the_engine_and_with_rpc():
    assert {*RECIPES.options} - {*OPTIONS} == {"-DGGML_RPC=ON"}
    assert {"llama-quantize", "llama-imatrix", "ggml-rpc-server"} <= {*RECIPES.programs}


def test_the_page_has_a_row_for_every_file_and_every_way():
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    for name in ("f16", "Q8_0", "Q4_K_M", "Q4_0"):
        assert re.search(rf"^\| {name} \| \d", page, flags=re.MULTILINE), name
    for workers in ("1 worker", "2 workers"):
        assert re.search(rf"^\| llama-server \+ {workers} \|", page, flags=re.MULTILINE), workers
