"""Who carries it: one file per method."""

from brodmann.localize.cnl import cnl
from brodmann.localize.dcsn import dcsn
from brodmann.localize.knowledge_neurons import KnowledgeNeurons, facts_of, knowledge_neurons
from brodmann.localize.lape import Lape, lape
from brodmann.localize.locate import METHODS, locate
from brodmann.localize.neft import neft
from brodmann.localize.until_stable import UntilStable

__all__ = [
    "METHODS",
    "KnowledgeNeurons",
    "Lape",
    "UntilStable",
    "cnl",
    "dcsn",
    "facts_of",
    "knowledge_neurons",
    "lape",
    "locate",
    "neft",
]
