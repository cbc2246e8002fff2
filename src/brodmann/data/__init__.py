"""Data: what a capability is, as examples of it."""

from brodmann.data.capabilities import capability_specs
from brodmann.data.describe import Description, describe, named_sets
from brodmann.data.example import Example
from brodmann.data.fact_files import LoadedFacts, load_facts, read_facts, write_facts
from brodmann.data.fact_rewriting import Rewriting, rewritten
from brodmann.data.fact_templates import paraphrased, relation_templates
from brodmann.data.facts import Fact
from brodmann.data.load import canonical_spec, load_examples
from brodmann.data.spec import DataSpec
from brodmann.data.texts import load_texts
from brodmann.data.write import write_examples

__all__ = [
    "DataSpec",
    "Description",
    "Example",
    "Fact",
    "LoadedFacts",
    "Rewriting",
    "canonical_spec",
    "capability_specs",
    "describe",
    "load_examples",
    "load_facts",
    "load_texts",
    "named_sets",
    "paraphrased",
    "read_facts",
    "relation_templates",
    "rewritten",
    "write_examples",
    "write_facts",
]
